//! How long it takes to read a pg_hba.conf, to change it, to see the difference and to judge connections; for two numbers
//! of rules, because the time is to grow as they do.
//!
//!     scripts/bench [FEWER MORE]                 with the Ansible module's time for reading the same files
//!     cargo bench --bench hba [-- FEWER MORE]    without
//!
//! Of several times the shortest counts: that in which the machine had the least else to do.
use pgsteward::ServerVersion;
use pgsteward::hba::{Connection, Dialect, HbaFile, Interfaces, Roles, World};
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 1_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = numbers.try_into().unwrap_or([10_000, 100_000]);
    let directory = Directory(std::env::temp_dir().join(format!("pgsteward-bench-{}", std::process::id())));
    fs::create_dir_all(&directory.0)?;
    let paths = sizes.map(|size| directory.0.join(format!("{size}.conf")));
    for (path, size) in paths.iter().zip(sizes) {
        fs::write(path, text(size))?;
    }
    let [fewer, more] = [measure(&paths[0], sizes[0])?, measure(&paths[1], sizes[1])?];

    println!("{:36} {:>15} {:>15}  ratio", "", format!("{} rules", sizes[0]), format!("{} rules", sizes[1]));
    let steps = [
        "read",
        "a rule inserted in the middle",
        "a rule replaced in the middle",
        "the diff of both",
        "push, once for each rule",
        "decide for 1,000 connections",
    ];
    for (step, (fewer, more)) in steps.into_iter().zip(fewer.into_iter().zip(more)) {
        line(step, fewer, more);
    }
    let Some(wheel) = std::env::var_os("PGSTEWARD_ANSIBLE") else { return Ok(()) };
    let (version, theirs) = ansible(Path::new(&wheel), &paths, sizes)?;
    line("read by Ansible's postgresql_pg_hba", theirs[0], theirs[1]);
    println!(
        "reading takes Ansible {:.0} and {:.0} times as long ({version})",
        theirs[0].div_duration_f64(fewer[0]),
        theirs[1].div_duration_f64(more[0])
    );
    Ok(())
}

fn line(step: &str, fewer: Duration, more: Duration) {
    let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    println!("{step:36} {:>15} {:>15} {:6.1}", milliseconds(fewer), milliseconds(more), more.div_duration_f64(fewer));
}

/// A file with so many rules, of every sort that both sides can read, in lines that are not all alike.
fn text(size: usize) -> String {
    let mut text = String::from("# TYPE  DATABASE        USER            ADDRESS                 METHOD\n");
    for n in 0..size {
        text.push_str(&rule(n));
        text.push('\n');
    }
    text
}

fn rule(n: usize) -> String {
    let network = format!("10.{}.{}", n >> 16 & 255, n >> 8 & 255);
    let address = format!("{network}.{}", n & 255);
    match n % 10 {
        0 => format!("# tenant {n}\nlocal   tenant{n}      user{n}                       peer map=staff"),
        1 => format!("host    tenant{n}      user{n}        {address}/32    scram-sha-256"),
        2 => format!("hostssl tenant{n},log  user{n},+staff {address}/32    scram-sha-256 # logged"),
        3 => format!("host    all            user{n}        {address} 255.255.255.255 md5"),
        4 => format!("\nhostssl tenant{n}\tall\t2001:db8::{:x}/128\tcert clientcert=verify-full", n & 0xffff),
        5 => format!("host    \"Tenant {n}\"   user{n}        {address}/32    scram-sha-256"),
        6 => format!("hostnossl tenant{n}    user{n}        {address}/32    reject"),
        7 => format!("host    tenant{n}      /^app{n}_      {address}/32    scram-sha-256"),
        8 => format!("host    replication    standby{n}     {address}/32    scram-sha-256"),
        _ => format!("host    sameuser       +group{}       {network}.0/24  scram-sha-256", n % 100),
    }
}

/// Connections that a rule of any place in the file decides about, or none.
fn connections(size: usize) -> Vec<Connection> {
    let connection = |at: usize| {
        let n = at * size / CONNECTIONS / 10 * 10 + 1;
        let octet = |shift: usize| (n >> shift & 255) as u8;
        let user = if at % 5 == 0 { "nobody".to_owned() } else { format!("user{n}") };
        Connection::tcp([10, octet(16), octet(8), octet(0)], format!("tenant{n}"), user)
    };
    (0..CONNECTIONS).map(connection).collect()
}

/// The shortest times for each step.
fn measure(path: &Path, size: usize) -> Result<[Duration; 6]> {
    let version = ServerVersion::parse("18.0")?;
    let path = path.to_str().ok_or("the temporary directory has a name that is no UTF-8")?;
    let (read, hba) = shortest(10, || HbaFile::open(path, Dialect::new(version.clone())));
    let hba = hba?;
    hba.check()?;
    assert_eq!(hba.len(), size);

    let mut changed = hba.clone();
    let [mut insert, mut replace] = [Duration::MAX; 2];
    for _ in 0..10 {
        changed.revert();
        let (time, done) = shortest(1, || changed.insert(size / 2, "host shop app 192.0.2.0/24 scram-sha-256"));
        done?;
        insert = insert.min(time);
        let (time, done) = shortest(1, || changed.replace(size / 2 + 2, "host shop app 198.51.100.0/24 reject"));
        done?;
        replace = replace.min(time);
    }
    let (diff, text) = shortest(10, || changed.changes());
    assert_eq!(text.lines().filter(|line| line.starts_with('+')).count(), 3);

    let rules: Vec<_> = hba.iter().collect();
    let (push, pushed) = shortest(3, || {
        let mut pushed = HbaFile::from_bytes(path, "", Dialect::new(version.clone()));
        rules.iter().try_for_each(|rule| pushed.push(*rule)).map(|()| pushed)
    });
    assert_eq!(pushed?.len(), size);

    let world = world(version);
    let connections = connections(size);
    let (decide, decided) = shortest(3, || {
        let judge = hba.judge(&world);
        connections.iter().filter(|connection| judge.decide(connection).rule().is_some()).count()
    });
    assert_eq!(decided, CONNECTIONS * 4 / 5);
    Ok([read, insert, replace, diff, push, decide])
}

/// A server with some roles in some groups.
fn world(version: ServerVersion) -> World {
    let mut world = World::new(version);
    let mut roles = Roles::new();
    for n in 0..1_000 {
        roles.add(format!("user{n}1"), &[format!("group{}", n % 100)]);
    }
    world.roles = Some(roles);
    world.interfaces = Interfaces::all([]);
    world
}

/// The shortest of some times, and what came of the last.
fn shortest<R>(times: usize, mut f: impl FnMut() -> R) -> (Duration, R) {
    let mut time = || {
        let began = Instant::now();
        let result = black_box(f());
        (began.elapsed(), result)
    };
    let first = time();
    (1..times).fold(first, |(least, _), _| {
        let (elapsed, result) = time();
        (least.min(elapsed), result)
    })
}

/// What the Ansible module is, and how long it takes to read each file.
fn ansible(wheel: &Path, paths: &[PathBuf], sizes: [usize; 2]) -> Result<(String, Vec<Duration>)> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ansible.py");
    let output = Command::new("python3").arg(program).arg(wheel).args(paths).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("ansible.py failed".into());
    }
    let answer = String::from_utf8(output.stdout)?;
    let (version, rest) = answer.split_once('\n').ok_or("ansible.py printed nothing")?;
    let mut times = Vec::new();
    for (line, size) in rest.lines().zip(sizes) {
        let (count, seconds) = line.split_once(' ').ok_or("ansible.py printed another thing")?;
        assert_eq!(count.parse::<usize>()?, size, "it finds another number of rules");
        times.push(Duration::from_secs_f64(seconds.parse()?));
    }
    Ok((version.to_owned(), times))
}
