//! The server's process: started, waited for, stopped.
use super::binaries::Binaries;
use super::directory::{PrivateDirectory, wait_at_most};
use crate::{Error, Result};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const START_TIME: Duration = Duration::from_secs(60);
const STOP_TIME: Duration = Duration::from_secs(20);

/// How much of the log an error shows, in lines.
const LOG_LINES: usize = 20;

/// The server's process, while there is one. It ends when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Postmaster(Option<Child>);

impl Postmaster {
    /// Starts the server, and waits until it accepts connections. It must not be running.
    pub(super) fn start(&mut self, binaries: &Binaries, directory: &PrivateDirectory) -> Result<()> {
        let lock = directory.data().join("postmaster.pid");
        // A killed server leaves its own behind, which would look like a sign of life.
        let _ = fs::remove_file(&lock);
        let log = directory.open_log()?;
        let failed = |e| Error::io("start the server", e);
        let mut command = directory.command(&binaries.program("postgres"));
        command.arg("-D").arg(directory.data());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        let child = self.0.insert(command.spawn().map_err(failed)?);

        let start = Instant::now();
        while !accepts(&lock) {
            let ended = child.try_wait().map_err(failed)?;
            if ended.is_some() || start.elapsed() > START_TIME {
                let _ = self.stop("QUIT");
                return Err(not_started(ended, directory));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops the server by a signal. Nothing happens when it is not running.
    pub(super) fn stop(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.0.take() else { return Ok(()) };
        if !matches!(child.try_wait(), Ok(None)) {
            return Ok(());
        }
        let sent = send(signal, child.id());
        if wait_at_most(&mut child, if sent { STOP_TIME } else { Duration::ZERO }) {
            return Ok(());
        }
        Err(Error::OsCommand {
            command: format!("kill -s {signal}"),
            failure: format!("did not end the server within {STOP_TIME:?}; it was killed"),
            exit_code: None,
            stderr: "it will recover when it is started again".into(),
        })
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        let _ = self.stop("QUIT");
    }
}

/// Whether the server says that it lets clients in: the eighth line of its lock file, which is where pg_ctl looks.
fn accepts(lock: &Path) -> bool {
    let text = fs::read_to_string(lock).unwrap_or_default();
    let state = text.lines().nth(7).unwrap_or_default().trim_end();
    state == "ready" || state == "standby"
}

fn send(signal: &str, process: u32) -> bool {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"kill -s "$1" "$2""#, "kill", signal, &process.to_string()]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}

fn not_started(ended: Option<ExitStatus>, directory: &PrivateDirectory) -> Error {
    let log = directory.read_log().unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    Error::OsCommand {
        command: "postgres".into(),
        failure: match ended {
            Some(status) => format!("did not start ({status})"),
            None => format!("did not accept connections within {START_TIME:?}"),
        },
        exit_code: ended.and_then(|status| status.code()),
        stderr: lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"),
    }
}
