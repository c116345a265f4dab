//! Asking before something is dropped or ended.
use super::exit::Failure;
use super::interrupt;
use std::io::{self, BufRead, IsTerminal, Write};

/// Asks a question on standard error, and takes `yes` and `y` from standard input for a yes: be it a
/// terminal or a pipe. Anything else is a no, and so is no answer.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    let mut stderr = io::stderr();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    asked.map_err(|error| Failure::io("ask", error))?;
    let mut answer = Vec::new();
    let read = interrupt::while_asking(|| io::stdin().lock().read_until(b'\n', &mut answer));
    read.map_err(|error| Failure::io("read the answer", error))?;
    // The cursor is still behind the question, unless somebody typed the end of the line.
    if answer.is_empty() || !io::stdin().is_terminal() {
        let _ = writeln!(stderr);
    }
    if answer.is_empty() {
        return Err(Failure::Declined(
            "nothing was done: there was no answer (end of input); --yes skips the question".into(),
        ));
    }
    match is_yes(&answer) {
        true => Ok(()),
        false => Err(Failure::Declined("nothing was done: the answer was not yes".into())),
    }
}

fn is_yes(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).trim().to_lowercase();
    answer == "y" || answer == "yes"
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn p077_only_yes_is_yes() {
        for yes in ["y", "Y\n", " yes \r\n", "YES", "yEs\n"] {
            assert!(is_yes(yes.as_bytes()), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yess", "y y", "ja", "1", "true", "\u{feff}y"] {
            assert!(!is_yes(no.as_bytes()), "{no:?}");
        }
    }
}
