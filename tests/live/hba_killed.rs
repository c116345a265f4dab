//! A session, its server process or the whole server is killed while pg_hba.conf is changed.
use crate::hba_alter::{Private, RULE};
use crate::support::wait_until;
use pgsteward::hba::{HbaAlterOptions, HbaRules, HbaWrite};
use pgsteward::{Cluster, Error};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The session, by pg_terminate_backend.
    Session,
    /// Its server process, by SIGKILL; the server ends all others, and recovers.
    Process,
    /// All of the server, by SIGKILL, with the programs that it runs.
    Server,
}

/// When: after so many answers of the server, and so long after that.
#[derive(Clone, Copy, Debug)]
struct Moment {
    answers: u32,
    later: Duration,
}

type Hook = Box<dyn FnOnce() + Send>;

/// Passes connections on, counts how often the server is ready for the next message, and does something at one of them.
struct Proxy {
    port: u16,
    ready: AtomicU32,
    hook: Mutex<Option<(Moment, Hook)>>,
    /// What was begun and has not ended.
    begun: Mutex<Option<JoinHandle<()>>>,
    /// The client's connection is lost when it has sent this text; the server's is not. Something is done just before.
    cut: Mutex<Option<(String, Hook)>>,
}

impl Proxy {
    fn start(private: &Private) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ready, hook, begun, cut) = (AtomicU32::new(0), Mutex::default(), Mutex::default(), Mutex::default());
        let proxy = Arc::new(Self { port, ready, hook, begun, cut });
        let path = private.server.socket_directory().join(format!(".s.PGSQL.{}", private.server.port()));
        let shared = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (proxy, client) = (shared.clone(), client.unwrap());
                // While there is no server, the client sees its connection closed.
                if let Ok(upstream) = UnixStream::connect(&path) {
                    let (back, from, to) = (proxy.clone(), client.try_clone().unwrap(), upstream.try_clone().unwrap());
                    thread::spawn(move || back.pass_to_server(from, to));
                    thread::spawn(move || proxy.pass_to_client(&client, upstream));
                }
            }
        });
        proxy
    }

    fn connect(&self, role: &str) -> Cluster {
        let dsn = format!("host=127.0.0.1 port={} user={role} dbname=postgres sslmode=disable", self.port);
        Cluster::connect(&dsn).unwrap()
    }

    /// Counts anew, and does it when the moment has come.
    fn arm(&self, moment: Moment, hook: Hook) {
        *self.hook.lock().unwrap() = Some((moment, hook));
        self.ready.store(0, Ordering::SeqCst);
        self.fire(0);
    }

    fn fire(&self, answers: u32) {
        let mut hook = self.hook.lock().unwrap();
        if hook.as_ref().is_some_and(|(moment, _)| moment.answers == answers) {
            let Some((moment, hook)) = hook.take() else { return };
            if moment.later.is_zero() {
                return hook();
            }
            *self.begun.lock().unwrap() = Some(thread::spawn(move || {
                thread::sleep(moment.later);
                hook();
            }));
        }
    }

    /// Waits for the end of what was begun, and sees to it that nothing is begun any more.
    fn disarm(&self) {
        self.hook.lock().unwrap().take();
        if let Some(begun) = self.begun.lock().unwrap().take() {
            begun.join().unwrap();
        }
    }

    fn pass_to_server(&self, mut client: TcpStream, mut upstream: UnixStream) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(length @ 1..) = client.read(&mut bytes) {
            let sent = &bytes[..length];
            let mut cut = self.cut.lock().unwrap();
            if cut.as_ref().is_some_and(|(text, _)| String::from_utf8_lossy(sent).contains(text)) {
                cut.take().unwrap().1();
                upstream.write_all(sent).unwrap();
                client.shutdown(Shutdown::Both).unwrap();
                return;
            }
            drop(cut);
            if upstream.write_all(sent).is_err() {
                break;
            }
        }
        let _ = upstream.shutdown(Shutdown::Both);
    }

    fn pass_to_client(&self, client: &TcpStream, mut upstream: UnixStream) {
        let mut to_client = client.try_clone().unwrap();
        client.set_nodelay(true).unwrap();
        let mut head = [0; 5];
        while upstream.read_exact(&mut head).is_ok() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) - 4;
            let mut message = head.to_vec();
            message.resize(head.len() + length as usize, 0);
            if upstream.read_exact(&mut message[head.len()..]).is_err() {
                break;
            }
            if head[0] == b'Z' {
                let answers = self.ready.fetch_add(1, Ordering::SeqCst) + 1;
                self.fire(answers);
            }
            if to_client.write_all(&message).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }
}

fn kill(process: &str) {
    signal("KILL", process);
}

fn signal(name: &str, process: &str) {
    let mut command = Command::new("kill");
    let _ = command.args(["-s", name, "--", process]).stderr(Stdio::null()).status();
}

impl Victim {
    /// Kills it, and brings the server back if that is gone.
    fn kill(self, private: &Private, process: i32) {
        match self {
            Self::Session => {
                let _ = private.cluster.execute("SELECT pg_terminate_backend($1)", &[&process]);
            }
            Self::Process => {
                let own =
                    || private.cluster.execute("SELECT pg_backend_pid()", &[]).map(|rows| rows[0].get::<_, i32>(0));
                let before = own().unwrap();
                kill(&process.to_string());
                wait_until("the server recovers", || own().is_ok_and(|now| now != before));
            }
            Self::Server => {
                let all = private.cluster.execute("SELECT pid FROM pg_stat_activity", &[]).unwrap();
                let main = fs::read_to_string(private.server.data_directory().join("postmaster.pid")).unwrap();
                kill(main.lines().next().unwrap());
                // Each is the first of its group, in which the programs are that it runs.
                all.iter().for_each(|row| kill(&format!("-{}", row.get::<_, i32>(0))));
                // Until the last of them is gone, its memory is in use.
                wait_until("the server starts", || private.server.restart().is_ok());
                wait_until("the server is back", || private.cluster.execute("SELECT 1", &[]).is_ok());
            }
        }
    }
}

/// The rules, with a change.
fn change(cluster: &Cluster) -> HbaRules {
    let mut hba = cluster.hba_rules().unwrap();
    hba.insert(0, RULE).unwrap();
    hba.extend((0..500).map(|number| format!("host all stranger_{number} 10.0.0.0/8 reject"))).unwrap();
    hba
}

/// A server, and a change that is interrupted again and again.
struct Rounds {
    private: Arc<Private>,
    proxy: Arc<Proxy>,
    /// Who makes the change, and how.
    role: String,
    options: HbaAlterOptions,
    old: Vec<u8>,
    new: Vec<u8>,
    /// How many rounds ended with the old file, and with the new one.
    ended: [u32; 2],
}

impl Rounds {
    fn new() -> Self {
        Self::by(Private::start(), "postgres", HbaWrite::Replace)
    }

    fn by(private: Private, role: &str, write: HbaWrite) -> Self {
        let mut options = HbaAlterOptions::new();
        options.write = write;
        let proxy = Proxy::start(&private);
        private.cluster.execute("CREATE ROLE stranger LOGIN", &[]).unwrap();
        let old = fs::read(private.path()).unwrap();
        let new = change(&private.cluster).new_bytes();
        Self { private: Arc::new(private), proxy, role: role.into(), options, old, new, ended: [0; 2] }
    }

    /// How many answers an undisturbed change takes.
    fn answers(&self) -> u32 {
        let cluster = self.proxy.connect(&self.role);
        let mut hba = change(&cluster);
        self.proxy.ready.store(0, Ordering::SeqCst);
        hba.alter_with(&self.options).unwrap();
        let answers = self.proxy.ready.load(Ordering::SeqCst);
        self.start_over();
        answers
    }

    /// Has the server go by the old file.
    fn start_over(&self) {
        fs::write(self.private.path(), &self.old).unwrap();
        let reload = || self.private.cluster.execute("SELECT pg_reload_conf()", &[]).is_ok();
        wait_until("the server takes statements", reload);
        wait_until("the old rules are loaded", || self.private.is_let_in("stranger"));
    }

    fn round(&mut self, victim: Victim, moment: Moment) {
        let cluster = self.proxy.connect(&self.role);
        let mut hba = change(&cluster);
        let process: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
        let private = self.private.clone();
        self.proxy.arm(moment, Box::new(move || victim.kill(&private, process)));
        let result = hba.alter_with(&self.options);
        self.proxy.disarm();
        let what = format!("{victim:?} {moment:?}: {result:?}");
        let now = fs::read(self.private.path()).unwrap();
        assert!(now == self.old || now == self.new, "neither the old file nor the new one: {what}");
        match &result {
            Ok(_) => assert!(now == self.new, "not the new file: {what}"),
            Err(error) if error.to_string().contains("is not known") => {}
            Err(_) => assert!(now == self.old, "not the old file: {what}"),
        }
        // What the server goes by is what is in its file.
        match &result {
            Ok(_) => assert!(!self.private.is_let_in("stranger"), "not the new rules: {what}"),
            Err(error) if error.to_string().contains("is not known") => {}
            Err(_) => assert!(self.private.is_let_in("stranger"), "not the old rules: {what}"),
        }
        self.ended[usize::from(now == self.new)] += 1;
        // A program that outlived its connection does not come later.
        wait_until("the programs ended", || !self.is_program_running());
        assert!(fs::read(self.private.path()).unwrap() == now, "changed afterwards: {what}");
        self.start_over();
    }

    /// Whether a program of a change is running; it has the path of the file in its text. Unseen where there is no /proc.
    fn is_program_running(&self) -> bool {
        let path = self.private.path().display().to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut texts = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        texts.any(|text| String::from_utf8_lossy(&text).contains(&format!("p='{path}'")))
    }

    /// After every so many-th answer, and during the statements that come then.
    fn run(&mut self, victim: Victim, delays: &[u64]) {
        let answers = self.answers();
        assert!(answers > 5);
        for answers in 0..answers {
            for milliseconds in delays {
                self.round(victim, Moment { answers, later: Duration::from_millis(*milliseconds) });
            }
        }
        println!("{victim:?}: the old file {} times, the new one {} times", self.ended[0], self.ended[1]);
        self.private.server.restart().unwrap();
    }
}

#[test]
fn p056_a_session_ended_at_any_step_leaves_the_old_file_or_the_new_one() {
    Rounds::new().run(Victim::Session, &[0, 10, 30]);
}

#[test]
fn p056_a_server_process_killed_at_any_step_leaves_the_old_file_or_the_new_one() {
    Rounds::new().run(Victim::Process, &[0, 15]);
}

#[test]
fn p056_a_server_killed_at_any_step_leaves_the_old_file_or_the_new_one_and_starts_with_it() {
    Rounds::new().run(Victim::Server, &[0, 15]);
}

#[test]
fn a_half_written_file_is_put_back_and_one_of_others_is_left_with_the_copy_named() {
    tear(&Rounds::by(Private::start(), "postgres", HbaWrite::InPlace));
}

#[test]
fn a_file_half_written_by_sql_alone_is_put_back_too() {
    for right in ["pg_write_server_files", "EXECUTE ON FUNCTION lo_export(oid, text)"] {
        let private = Private::start();
        let (name, _) = private.writer(right);
        tear(&Rounds::by(private, &name, HbaWrite::InPlace));
    }
}

#[test]
fn what_a_lost_connection_was_to_write_by_sql_alone_does_not_come_later() {
    for (right, text) in
        [("pg_write_server_files", "TO '"), ("EXECUTE ON FUNCTION lo_export(oid, text)", "lo_export(object, '")]
    {
        // A statement is in the log when it is done.
        let private = Private::with(&[("log_min_duration_statement", "0")]);
        let (name, _) = private.writer(right);
        // It becomes the writer when it has logged in, and may then not see the sessions of the role that it was.
        private.cluster.execute(&format!("CREATE ROLE {name}_login LOGIN IN ROLE {name}"), &[]).unwrap();
        private.cluster.execute(&format!("ALTER ROLE {name}_login SET role = {name}"), &[]).unwrap();
        let rounds = Rounds::by(private, &format!("{name}_login"), HbaWrite::InPlace);
        let text = format!("{text}{}'", rounds.private.path().display());
        for ends_in_time in [true, false] {
            outlive(&rounds, &text, ends_in_time);
        }
    }
}

/// Has the connection be lost at the statement that writes the file, while its server process is stopped before it. That
/// goes on when it was told to end, or only after the change has given up.
fn outlive(rounds: &Rounds, text: &str, ends_in_time: bool) {
    let private = &rounds.private;
    let cluster = rounds.proxy.connect(&rounds.role);
    let mut hba = change(&cluster);
    let process: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    let stop = move || signal("STOP", &process.to_string());
    *rounds.proxy.cut.lock().unwrap() = Some((text.into(), Box::new(stop)));
    let done = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            let end = format!("WHERE pid = '{process}'");
            let is_told = || private.server.log().unwrap().contains(&end);
            wait_until("it is told to end", || done.load(Ordering::SeqCst) || (ends_in_time && is_told()));
            signal("CONT", &process.to_string());
        });
        let result = hba.alter_with(&rounds.options);
        done.store(true, Ordering::SeqCst);
        result
    });
    assert!(rounds.proxy.cut.lock().unwrap().is_none(), "it has written the file otherwise: {result:?}");
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    let unsure = ["the file may still be written", &format!("the server process {process} ")];
    assert!(unsure.iter().all(|words| error.to_string().contains(words) != ends_in_time), "{error}");
    let query = "SELECT FROM pg_stat_activity WHERE pid = $1";
    wait_until("it has ended", || private.cluster.execute(query, &[&process]).unwrap().is_empty());
    assert!(fs::read(private.path()).unwrap() == rounds.old, "{text}: written afterwards: {error}");
}

/// Tears the file while it is overwritten in place, after each answer of the server, and ends the session then.
fn tear(rounds: &Rounds) {
    let mut seen = [0; 2];
    for answers in 0..rounds.answers() {
        for (theirs, seen) in [&b""[..], b"# theirs\n"].into_iter().zip(&mut seen) {
            let cluster = rounds.proxy.connect(&rounds.role);
            let mut hba = change(&cluster);
            let process: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
            let (private, new) = (rounds.private.clone(), rounds.new.clone());
            let torn = Arc::new(Mutex::new(false));
            let done = torn.clone();
            let hook = move || {
                if fs::read(private.path()).unwrap() == new {
                    let half = [theirs, &new[..new.len() / 2]].concat();
                    fs::write(private.path(), half).unwrap();
                    *done.lock().unwrap() = true;
                    Victim::Session.kill(&private, process);
                }
            };
            rounds.proxy.arm(Moment { answers, later: Duration::ZERO }, Box::new(hook));
            let result = hba.alter_with(&rounds.options);
            rounds.proxy.disarm();
            let now = fs::read(rounds.private.path()).unwrap();
            if let (true, Err(Error::Connection { .. })) = (*torn.lock().unwrap(), &result) {
                let text = result.unwrap_err().to_string();
                *seen += 1;
                if theirs.is_empty() {
                    assert!(now == rounds.old && text.contains("put back and loaded"), "{text}");
                } else {
                    assert!(now.starts_with(theirs), "{text}");
                    assert!(text.contains("could not be put back") && text.contains("the old content is in"), "{text}");
                }
            }
            rounds.start_over();
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
#[ignore = "a campaign: scripts/soak"]
fn a_change_killed_a_thousand_times() {
    for victim in [Victim::Session, Victim::Process, Victim::Server] {
        Rounds::new().run(victim, &[0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 35, 40, 45, 50, 60]);
    }
}
