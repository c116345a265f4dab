//! Local programs that run: alone, or one into another.
use super::messages::{MessageKind, ProgramMessage, Reader};
use super::{Progress, ProgressCallback};
use crate::error::{Error, Result};
use crate::sql::hex;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the caller hears of a program that says nothing.
const TICK: Duration = Duration::from_millis(50);

/// How long a program may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);

/// How long what an ended program has left in its pipe is waited for: another process may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The longest line of a program's that is kept, in bytes; the rest comes as further lines.
const LONGEST_LINE: u64 = 16 * 1024;

/// How many warnings and errors are kept.
const MOST_MESSAGES: usize = 10_000;

/// How many lines are kept for an error, where there is no message that is known to be one.
const LAST_LINES: usize = 20;

/// A program that is running. It is ended when this is dropped.
pub(super) struct Running {
    /// What it is in messages: `pg_dump of database "shop"`.
    title: String,
    child: Child,
    lines: Receiver<String>,
    reader: Reader,
    messages: Vec<ProgramMessage>,
    last_lines: VecDeque<String>,
    status: Option<ExitStatus>,
}

impl Running {
    /// Starts a program. Its standard error is read here; where the other streams lead, the command says.
    pub(super) fn start(title: impl Into<String>, command: &mut Command) -> Result<Self> {
        let title = title.into();
        command.stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Error::io(format!("run {title}"), error))?;
        let (sender, lines) = mpsc::sync_channel(1000);
        if let Some(stderr) = child.stderr.take() {
            let spawned =
                thread::Builder::new().name("pgsteward-stderr".into()).spawn(move || send_lines(stderr, &sender));
            spawned.map_err(|error| Error::io("start a thread", error))?;
        }
        let (reader, last_lines) = (Reader::default(), VecDeque::new());
        Ok(Self { title, child, lines, reader, messages: Vec::new(), last_lines, status: None })
    }

    pub(super) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The warnings and errors that it printed.
    pub(super) fn into_messages(mut self) -> Vec<ProgramMessage> {
        std::mem::take(&mut self.messages)
    }

    /// Takes what it has said, for a moment at most; returns whether it has ended.
    fn hear(&mut self, watch: &mut Watch<'_>) -> Result<bool> {
        match self.lines.recv_timeout(TICK) {
            Ok(line) => {
                self.take(&line, watch)?;
                while let Ok(line) = self.lines.try_recv() {
                    self.take(&line, watch)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if self.has_ended()? => return Ok(true),
            // Its standard error is closed, and it goes on, or is about to end.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(2)),
        }
        self.has_ended()
    }

    fn take(&mut self, line: &str, watch: &mut Watch<'_>) -> Result<()> {
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.to_owned());
        self.reader.line(line).into_iter().try_for_each(|message| self.keep(message, watch))
    }

    fn keep(&mut self, message: ProgramMessage, watch: &mut Watch<'_>) -> Result<()> {
        let answer = watch.tell(&Progress::Message(&message), &self.title);
        if message.kind != MessageKind::Step && self.messages.len() < MOST_MESSAGES {
            self.messages.push(message);
        }
        answer
    }

    /// Takes what an ended program said last.
    fn hear_last(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        let until = Instant::now() + LAST_WORDS;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.take(&line, watch)?;
        }
        match self.reader.finish() {
            Some(message) => self.keep(message, watch),
            None => Ok(()),
        }
    }

    fn has_ended(&mut self) -> Result<bool> {
        if self.status.is_none() {
            self.status =
                self.child.try_wait().map_err(|error| Error::io(format!("wait for {}", self.title), error))?;
        }
        Ok(self.status.is_some())
    }

    fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Whether it has ended because nobody read on.
    fn broke_off(&self) -> bool {
        #[cfg(unix)]
        let signal = self.status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
        #[cfg(not(unix))]
        let signal: Option<i32> = None;
        signal == Some(13) || self.last_lines.iter().any(|line| line.contains("Broken pipe"))
    }

    /// Has it end, and waits for that: told first, so that pg_dump and pg_restore cancel what they have running on the
    /// server, then by force.
    pub(super) fn end(&mut self) {
        if !matches!(self.has_ended(), Ok(false)) {
            return;
        }
        let told = cfg!(unix)
            && Command::new("/bin/sh")
                .args(["-c", "kill -s TERM \"$1\"", "kill", &self.child.id().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        let until = Instant::now() + GRACE;
        while told && Instant::now() < until && matches!(self.has_ended(), Ok(false)) {
            // Its pipe must not fill up meanwhile.
            let _ = self.lines.recv_timeout(Duration::from_millis(5));
        }
        if matches!(self.has_ended(), Ok(false)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// The error for a program that has failed, or was made to end.
    fn failed(&self, failure: String) -> Error {
        let errors: Vec<String> = self.errors().map(ToString::to_string).collect();
        let stderr = match errors.is_empty() {
            true => self.last_lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"),
            false => errors.join("\n"),
        };
        let exit_code = self.status.and_then(|status| status.code());
        Error::OsCommand { command: self.title.clone(), failure, exit_code, stderr }
    }

    fn ended_badly(&self) -> Error {
        let how = match self.status.map(|status| (status.code(), status)) {
            Some((Some(code), _)) => format!("ended with exit code {code}"),
            Some((None, status)) => format!("was ended from outside ({status})"),
            None => "did not end".into(),
        };
        self.failed(how)
    }

    fn errors(&self) -> impl Iterator<Item = &ProgramMessage> {
        self.messages.iter().filter(|message| message.kind == MessageKind::Error)
    }

    /// Whether it went to its end, over errors that it was told to go over.
    fn only_ignored_errors(&self) -> bool {
        let counted = |message: &ProgramMessage| message.text.starts_with("errors ignored on restore: ");
        self.status.is_some_and(|status| status.code() == Some(1)) && self.messages.iter().any(counted)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn send_lines(stderr: ChildStderr, sender: &SyncSender<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        if sender.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Until when something may run, and who hears of it.
pub(super) struct Watch<'a> {
    timeout: Option<(Instant, Duration)>,
    progress: &'a mut ProgressCallback<'a>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(timeout: Option<Duration>, progress: &'a mut ProgressCallback<'a>) -> Self {
        let timeout = timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
        Self { timeout, progress }
    }

    fn tell(&mut self, progress: &Progress<'_>, title: &str) -> Result<()> {
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ended(title, "was ended: the caller gave it up")),
        }
    }

    /// Tells how far it is, and asks whether to go on.
    pub(super) fn check(&mut self, title: &str, bytes: u64) -> Result<()> {
        match self.timeout {
            Some((until, timeout)) if Instant::now() >= until => {
                Err(ended(title, &format!("was ended: {} seconds were over (timeout)", timeout.as_secs_f64())))
            }
            _ => self.tell(&Progress::Bytes(bytes), title),
        }
    }

    /// What is left of the time, if that is limited.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.timeout.map(|(until, _)| until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }

    /// Tells of a message that is known already.
    pub(super) fn hear(&mut self, message: &ProgramMessage, title: &str) -> Result<()> {
        self.tell(&Progress::Message(message), title)
    }
}

fn ended(title: &str, failure: &str) -> Error {
    Error::OsCommand { command: title.into(), failure: failure.into(), exit_code: None, stderr: String::new() }
}

/// What a program makes of the errors that it was told to go over.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Tolerance {
    None,
    IgnoredErrors,
}

/// Waits for a program to end well; it is ended when the time is over, or the caller gives up. `bytes` tells how far it is.
pub(super) fn wait(
    mut running: Running,
    watch: &mut Watch<'_>,
    tolerance: Tolerance,
    bytes: impl Fn() -> u64,
) -> Result<Vec<ProgramMessage>> {
    while !running.hear(watch)? {
        watch.check(&running.title, bytes())?;
    }
    running.hear_last(watch)?;
    if running.succeeded() || (tolerance == Tolerance::IgnoredErrors && running.only_ignored_errors()) {
        return Ok(running.into_messages());
    }
    Err(running.ended_badly())
}

/// Runs a program to its end, and returns what it printed.
pub(super) fn capture(title: &str, command: &mut Command, watch: &mut Watch<'_>) -> Result<Vec<u8>> {
    let mut running = Running::start(title, command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = running.stdout();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut text)).map(|_| text)
    });
    wait(running, watch, Tolerance::None, || 0)?;
    let read = reader.join().unwrap_or_else(|_| Ok(Vec::new()));
    read.map_err(|error| Error::io(format!("read what {title} prints"), error))
}

/// What went from one program to another.
pub(super) struct Passed {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// What both said.
    pub(super) messages: Vec<ProgramMessage>,
}

/// Runs one program into another, in bounded memory. The second sees the end of its input only when the first has ended
/// well: a dump that was cut off must not be stored, nor half a script be committed.
pub(super) fn pipe(
    mut source: Running,
    mut sink: Running,
    watch: &mut Watch<'_>,
    tolerance: Tolerance,
) -> Result<Passed> {
    let (Some(from), Some(to)) = (source.stdout(), sink.stdin()) else {
        return Err(Error::invalid("pipe", "a program has no standard input or output"));
    };
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let mut pump = Some(thread::spawn(move || pass(from, to, &counted)));
    let mut sha256 = None;
    while !(source.hear(watch)? & sink.hear(watch)?) {
        watch.check(&source.title, count.load(Ordering::Relaxed))?;
        if source.has_ended()? && !source.succeeded() {
            sink.end();
        }
        if pump.as_ref().is_some_and(|pump| pump.is_finished()) && source.succeeded() {
            sha256 = pump.take().and_then(joined);
        }
    }
    source.hear_last(watch)?;
    sink.hear_last(watch)?;
    let sink_is_good = sink.succeeded() || (tolerance == Tolerance::IgnoredErrors && sink.only_ignored_errors());
    match (source.succeeded(), sink_is_good) {
        (false, _) if !source.broke_off() || sink_is_good => return Err(source.ended_badly()),
        (_, false) => return Err(sink.ended_badly()),
        _ => {}
    }
    let sha256 = sha256.or_else(|| pump.take().and_then(joined));
    let sha256 = sha256.ok_or_else(|| sink.failed("did not take all of its input".into()))?;
    let mut messages = source.into_messages();
    messages.extend(sink.into_messages());
    Ok(Passed { bytes: count.load(Ordering::Relaxed), sha256, messages })
}

/// What a finished pump has to tell; the input of the second program ends here.
fn joined(pump: JoinHandle<std::io::Result<(String, ChildStdin)>>) -> Option<String> {
    pump.join().ok()?.ok().map(|(sha256, _)| sha256)
}

fn pass(mut from: ChildStdout, mut to: ChildStdin, count: &AtomicU64) -> std::io::Result<(String, ChildStdin)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        to.write_all(bytes)?;
        hash.update(bytes);
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
    to.flush()?;
    Ok((hex(&hash.finalize()), to))
}
