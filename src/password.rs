//! Passwords that this crate makes.
use crate::error::{Error, Result};
use std::fmt;
use std::io;

/// A password that was made here. It shows as `'********'`; [`reveal`](Password::reveal) hands it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// How many characters it has: of 62 different ones, 190 bits.
const LENGTH: usize = 32;

const CHARACTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Password {
    /// A new one, of 32 letters and digits, from the random source of the operating system.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no such source.
    pub fn generate() -> Result<Self> {
        let mut password = String::with_capacity(LENGTH);
        let mut random = [0; LENGTH];
        while password.len() < LENGTH {
            getrandom::fill(&mut random)
                .map_err(|error| Error::io("make a password", io::Error::other(error.to_string())))?;
            // What is above the last multiple of 62 is left out, so that no character comes more often than another.
            let fair = random.iter().filter(|byte| usize::from(**byte) < 4 * CHARACTERS.len());
            let letters = fair.filter_map(|byte| CHARACTERS.get(usize::from(*byte) % CHARACTERS.len()));
            password.extend(letters.map(|letter| char::from(*letter)).take(LENGTH - password.len()));
        }
        Ok(Self(password))
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'********'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn passwords_are_long_each_another_and_made_of_every_character() {
        let made: Vec<Password> = (0..200).map(|_| Password::generate().unwrap()).collect();
        assert!(made.iter().all(|password| password.reveal().len() == LENGTH));
        assert_eq!(made.iter().map(Password::reveal).collect::<HashSet<_>>().len(), made.len());
        let used: HashSet<char> = made.iter().flat_map(|password| password.reveal().chars()).collect();
        assert_eq!(used.len(), CHARACTERS.len());
        assert_eq!(format!("{:?}", made[0]), "'********'");
    }
}
