//! Text and data of files.
use super::Session;
use crate::error::{Error, Result};
use crate::sides::Side;
use postgres::CopyInWriter;
use std::io::{self, Write};

impl Session {
    /// Sends the text of one statement or several, in one round trip, under the connection's own settings.
    pub(crate) fn send_text(&self, action: &str, text: &str) -> Result<()> {
        let mut state = self.ready(action)?;
        state.switch(Side::User, action)?;
        let result = state.call(action, |client| client.batch_execute(text));
        self.look_back(&mut state, text);
        result
    }

    /// Runs a COPY FROM STDIN under the connection's own settings, with the data that a closure writes; returns how many
    /// rows it took.
    pub(crate) fn copy_text(
        &self,
        action: &str,
        statement: &str,
        feed: impl FnOnce(&mut dyn Write) -> Result<(), Feed>,
    ) -> Result<u64> {
        let mut state = self.ready(action)?;
        state.switch(Side::User, action)?;
        state.call(action, |client| {
            let mut writer = client.copy_in(statement)?;
            match feed(&mut writer) {
                Ok(()) => writer.finish().map(Ok),
                Err(Feed::Source(error)) => Ok(Err(error)),
                Err(Feed::Server(error)) => refused(writer, error).map(Err),
            }
        })?
    }
}

/// What went wrong while data were passed on.
pub(crate) enum Feed {
    /// They could not be read.
    Source(Error),
    /// They could not be sent.
    Server(io::Error),
}

/// The driver's error in the error of its writer.
fn refused(writer: CopyInWriter<'_>, error: io::Error) -> Result<Error, postgres::Error> {
    // What the server had to say, if it did, is said at the end.
    writer.finish()?;
    match error.downcast::<postgres::Error>() {
        Ok(error) => Err(error),
        Err(error) => Ok(Error::io("send data", error)),
    }
}
