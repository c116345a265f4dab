//! Who has which connection of a pool, who waits for one, and who is next.
use super::connection::Connection;
use super::metrics::PoolMetrics;
use super::options::PoolOptions;
use crate::connect::Facts;
use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;
use std::sync::{Arc, Condvar};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long a connection that came back waits for somebody who needs it at once, before the keeper makes it clean: two threads
/// at work where one would do are slower.
pub(super) const GRACE: Duration = Duration::from_millis(1);

/// After how long without anything coming back a pool is at rest.
const LULL: Duration = Duration::from_millis(50);

/// The books of a pool; they are changed under its lock, and nothing in here waits.
pub(super) struct State {
    /// Clean ones; the last one back is the first to go.
    idle: Vec<Connection>,
    /// Those that came back and are not clean yet, in the order in which they did. The last of them is the first to go out
    /// again, so that a busy program works with few connections, and the keeper does not come between.
    returned: VecDeque<Connection>,
    /// How many the keeper is making clean.
    cleaning: usize,
    /// How many the keeper is making; what users make counts as theirs.
    pub(super) keeper_connects: usize,
    /// Whether the keeper waits until it is called.
    pub(super) keeper_sleeps: bool,
    last_returned: Instant,
    holders: BTreeMap<u64, Holder>,
    waiting: VecDeque<(u64, Arc<Condvar>)>,
    next: u64,
    /// What the connection that was made last has said.
    facts: Facts,
    pub(super) closed: bool,
    /// When the last connection was ended.
    ended: Option<Instant>,
    counted: Counted,
}

/// What only grows.
#[derive(Default)]
struct Counted {
    created: u64,
    closed: u64,
    checkouts: u64,
    timeouts: u64,
    wait: Duration,
    longest_wait: Duration,
}

/// Who has a connection, or has room to make one.
struct Holder {
    place: &'static Location<'static>,
    thread: ThreadId,
    thread_name: Option<String>,
    since: Instant,
    /// The server process; none while the connection is looked for.
    process: Option<i32>,
    is_reported: bool,
}

/// What somebody gets.
pub(super) struct Claim {
    /// None is room for a new one.
    pub(super) connection: Option<Connection>,
    /// Whether it can be handed out as it is.
    pub(super) is_clean: bool,
}

/// Work for the keeper.
pub(super) enum Job {
    Clean(Box<Connection>),
    End(Vec<Connection>),
    Connect,
}

impl State {
    pub(super) fn new(first: Connection) -> Self {
        let facts = first.known.facts.clone();
        let counted = Counted { created: 1, ..Counted::default() };
        Self {
            idle: vec![first],
            returned: VecDeque::new(),
            cleaning: 0,
            keeper_connects: 0,
            keeper_sleeps: false,
            last_returned: Instant::now(),
            holders: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
            facts,
            closed: false,
            ended: None,
            counted,
        }
    }

    /// All there are, with those that are being made.
    fn total(&self) -> usize {
        self.idle.len() + self.returned.len() + self.cleaning + self.keeper_connects + self.holders.len()
    }

    /// What there is for the next in line: what came back last, unless something may have to be waited for there.
    fn claim(&mut self, maximum: usize) -> Option<Claim> {
        let is_read = |last: &Connection| !last.known.may_be_unread;
        if !self.idle.is_empty() && !self.returned.back().is_some_and(is_read) {
            return Some(Claim { connection: self.idle.pop(), is_clean: true });
        }
        let connection = self.returned.pop_back();
        (connection.is_some() || self.total() < maximum).then_some(Claim { connection, is_clean: false })
    }

    /// What there is for somebody who has just come, if nobody waits.
    pub(super) fn claim_at_once(&mut self, maximum: usize) -> Option<Claim> {
        if self.waiting.is_empty() { self.claim(maximum) } else { None }
    }

    /// What there is for somebody who waits, if it is his turn.
    pub(super) fn claim_in_turn(&mut self, place: u64, maximum: usize) -> Option<Claim> {
        match self.waiting.front() {
            Some((first, _)) if *first == place => self.claim(maximum),
            _ => None,
        }
    }

    /// The last place in the line.
    pub(super) fn line_up(&mut self, signal: &Arc<Condvar>) -> u64 {
        self.next += 1;
        self.waiting.push_back((self.next, signal.clone()));
        self.next
    }

    /// Leaves the line, served or not.
    pub(super) fn leave(&mut self, place: u64, waited: Duration) {
        self.waiting.retain(|(other, _)| *other != place);
        self.counted.wait += waited;
        self.counted.longest_wait = self.counted.longest_wait.max(waited);
        // There may be more than one connection.
        self.call_next();
    }

    pub(super) fn give_up(&mut self, place: u64, waited: Duration) {
        self.counted.timeouts += 1;
        self.leave(place, waited);
    }

    /// Wakes who is first in the line.
    fn call_next(&self) {
        if let Some((_, signal)) = self.waiting.front() {
            signal.notify_one();
        }
    }

    fn call_all(&self) {
        self.waiting.iter().for_each(|(_, signal)| signal.notify_one());
    }

    /// Writes down who gets something.
    pub(super) fn hand_out(&mut self, place: &'static Location<'static>) -> u64 {
        let thread = thread::current();
        let holder = Holder {
            place,
            thread: thread.id(),
            thread_name: thread.name().map(str::to_owned),
            since: Instant::now(),
            process: None,
            is_reported: false,
        };
        self.next += 1;
        self.holders.insert(self.next, holder);
        self.next
    }

    /// Whoever was given something has a connection in his hands now.
    pub(super) fn check_out(&mut self, holder: u64, process: i32) {
        self.counted.checkouts += 1;
        if let Some(holder) = self.holders.get_mut(&holder) {
            holder.process = Some(process);
        }
    }

    /// Takes a connection back, or the room of one that is gone. It is for the first in the line.
    pub(super) fn take_back(&mut self, holder: u64, connection: Option<Connection>) {
        self.holders.remove(&holder);
        if let Some(mut connection) = connection {
            self.last_returned = Instant::now();
            connection.known.returned = self.last_returned;
            self.returned.push_back(connection);
        }
        self.call_next();
    }

    pub(super) fn count_created(&mut self, facts: &Facts) -> u64 {
        self.counted.created += 1;
        self.facts = facts.clone();
        self.counted.created
    }

    pub(super) fn count_closed(&mut self, number: usize) {
        self.counted.closed += u64::try_from(number).unwrap_or_default();
        if number > 0 {
            self.ended = Some(Instant::now());
        }
    }

    /// Whether a connection was ended so short a time ago that the server may have it still.
    pub(super) fn has_ended_within(&self, limit: Duration) -> bool {
        self.ended.is_some_and(|ended| ended.elapsed() < limit)
    }

    /// What the keeper has made clean, or has not.
    pub(super) fn cleaned(&mut self, connection: Option<Connection>) {
        self.cleaning = self.cleaning.saturating_sub(1);
        match connection {
            Some(connection) => self.idle.push(connection),
            None => self.count_closed(1),
        }
        self.call_next();
    }

    /// What the keeper has made, or has not.
    pub(super) fn connected(&mut self, connection: Option<Connection>) {
        self.keeper_connects = self.keeper_connects.saturating_sub(1);
        self.idle.extend(connection);
        self.call_next();
    }

    /// What the keeper can do now. Who waits takes what came back himself.
    pub(super) fn job(&mut self, options: &PoolOptions, may_connect: bool) -> Option<Job> {
        let is_due = self.returned.front().is_some_and(|first| first.known.returned.elapsed() >= GRACE);
        if is_due && self.waiting.is_empty() {
            if let Some(connection) = self.returned.pop_front() {
                self.cleaning += 1;
                return Some(Job::Clean(Box::new(connection)));
            }
        }
        let ended = self.superfluous(options, Instant::now());
        if !ended.is_empty() {
            self.count_closed(ended.len());
            return Some(Job::End(ended));
        }
        if may_connect && self.total() < options.minimum {
            self.keeper_connects += 1;
            return Some(Job::Connect);
        }
        None
    }

    /// Whether something has come back and is not clean, or may come again since it did a moment ago: then the keeper looks by
    /// itself, as calling it each time would cost more than what it saves.
    pub(super) fn is_lively(&self) -> bool {
        !self.returned.is_empty() || self.last_returned.elapsed() < LULL
    }

    /// Idle ones that are too old, or idle for too long where more are open than must be.
    fn superfluous(&mut self, options: &PoolOptions, now: Instant) -> Vec<Connection> {
        let mut spare = self.total().saturating_sub(options.minimum);
        let mut ended = Vec::new();
        // The first one is the one that was idle longest.
        for connection in std::mem::take(&mut self.idle) {
            let idle = now.saturating_duration_since(connection.known.answered);
            let too_long = spare > 0 && options.idle_timeout.is_some_and(|limit| idle >= limit);
            if too_long || connection.is_expired(now) {
                spare = spare.saturating_sub(1);
                ended.push(connection);
            } else {
                self.idle.push(connection);
            }
        }
        ended
    }

    /// Closes the books: those that are idle, and those that came back.
    pub(super) fn close(&mut self) -> (Vec<Connection>, VecDeque<Connection>) {
        self.closed = true;
        let (idle, returned) = (std::mem::take(&mut self.idle), std::mem::take(&mut self.returned));
        self.count_closed(idle.len() + returned.len());
        self.call_all();
        (idle, returned)
    }

    /// Who has the connections, longest first, in words.
    pub(super) fn who_holds(&self) -> String {
        let words = self.holders.values().map(|holder| {
            let name = holder.thread_name.as_deref().unwrap_or("without a name");
            let time = holder.since.elapsed().as_secs_f32();
            let own = if holder.thread == thread::current().id() { ", the one that waits" } else { "" };
            format!("{} (thread {name}{own}, for {time:.1} s)", holder.place)
        });
        match words.collect::<Vec<_>>() {
            words if words.is_empty() => "the pool itself, which makes them clean".into(),
            words => words.join(", "),
        }
    }

    /// Those that are in the same hands for so long and were not reported yet, in words; they are now.
    pub(super) fn forgotten(&mut self, limit: Duration) -> Vec<String> {
        let held = self.holders.values_mut().filter(|holder| !holder.is_reported && holder.process.is_some());
        let forgotten = held.filter(|holder| holder.since.elapsed() >= limit);
        let report = forgotten.map(|holder| {
            holder.is_reported = true;
            let (time, place) = (holder.since.elapsed().as_secs_f32(), holder.place);
            format!("a connection of the pool that was taken at {place} has not come back for {time:.1} s")
        });
        report.collect()
    }

    pub(super) fn metrics(&self, options: &PoolOptions) -> PoolMetrics {
        let in_use = self.holders.values().filter(|holder| holder.process.is_some()).count();
        let idle = self.idle.len() + self.returned.len() + self.cleaning;
        let at_rest = self.idle.iter().chain(&self.returned).map(|connection| connection.known.facts.pid);
        let held = self.holders.values().filter_map(|holder| holder.process);
        let mut server_processes: Vec<i32> = at_rest.chain(held).collect();
        server_processes.sort_unstable();
        PoolMetrics {
            minimum: options.minimum,
            maximum: options.maximum,
            size: idle + in_use,
            idle,
            in_use,
            connecting: self.keeper_connects + self.holders.len() - in_use,
            waiting: self.waiting.len(),
            created: self.counted.created,
            closed: self.counted.closed,
            checkouts: self.counted.checkouts,
            wait: self.counted.wait,
            longest_wait: self.counted.longest_wait,
            timeouts: self.counted.timeouts,
            database: self.facts.database.clone(),
            server_version: self.facts.version.clone(),
            server_processes,
        }
    }
}
