//! `monarch up` with stand-ins for the three programs: shell scripts that announce an admin address of this test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::net::Shutdown;
use common::telemetry::{Admin, Condition, Readiness};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const TIERS: [&str; 3] = ["dispatch", "notification", "switchboard"];
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with the stand-ins, and the admin server that they announce.
struct World {
    dir: TempDir,
    _runtime: Runtime,
    condition: Condition,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let readiness = Readiness::default();
        let condition = readiness.require("gossip", "no neighbour");
        let loopback = ([127, 0, 0, 1], 0).into();
        let shutdown = Shutdown::default();
        let admin = Admin::serve(loopback, &[], readiness, &shutdown);
        let admin = runtime.block_on(admin).unwrap().addr();
        let world = Self { dir, _runtime: runtime, condition };
        TIERS.iter().for_each(|name| world.stand_in(name, admin, "while :; do sleep 0.05; done"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a program that notes its arguments and its id, announces itself, and then does `rest`.
    fn stand_in(&self, name: &str, admin: SocketAddr, rest: &str) {
        let dir = self.dir.path().display();
        let script = format!(
            "#!/bin/sh\n\
             echo \"$*\" > {dir}/{name}.arguments\n\
             echo \"{name} speaks\" >&2\n\
             trap 'echo stopped > {dir}/{name}.stopped; exit 0' TERM\n\
             echo $$ > {dir}/{name}.pid\n\
             echo listening clients=127.0.0.1:4001 gossip=127.0.0.1:4002 peer=127.0.0.1:4003 admin={admin}\n\
             {rest}\n"
        );
        let path = self.path(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn up(&self, further: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_monarch"));
        command.current_dir(self.dir.path()).arg("up").arg("--binaries").arg(self.dir.path());
        // Whatever address the deployment on this machine uses, the test must not ask for it.
        for key in ["listen", "node-gossip", "node-peer", "node-admin"] {
            command.args(TIERS.map(|tier| format!("--{tier}-{key}=127.0.0.1:0")));
        }
        let others = ["http", "https", "dns"].map(|name| format!("--dispatch-{name}-listen=127.0.0.1:0"));
        command.args(others);
        command.args(["--accounts-argon2-memory-kib=8", "--accounts-argon2-passes=1"]);
        command.args(further).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MONARCH_")) {
            command.env_remove(name);
        }
        command
    }

    /// Starts it and reads what it prints until all is ready.
    fn until_up(&self, further: &[&str]) -> (Running, String) {
        let mut child = self.up(further).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("Ctrl-C stops it.") {
            if stdout.read_line(&mut text).unwrap() == 0 {
                let output = child.wait_with_output().unwrap();
                panic!("ended early: {text}{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        (Running { child, _stdout: stdout }, text)
    }

    fn stopped(&self) -> [bool; 3] {
        TIERS.map(|name| self.path(&format!("{name}.stopped")).exists())
    }
}

/// A `monarch up` at work; killed if the test ends before it does.
struct Running {
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (status.code(), errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that waits for other processes, without a runtime")]
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

#[test]
fn starts_three_and_stops_them_and_finds_the_data_again() {
    let world = World::new();
    world.condition.met();
    let (running, text) = world.until_up(&[]);
    assert!(text.contains("alice@example.com") && text.contains("wonderland"), "{text}");
    assert!(text.contains("telnet 127.0.0.1 4001"), "{text}");

    let second = world.up(&[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("another `monarch up` (process {}) runs on data", running.child.id());
    assert!(errors(&second).contains(&expected), "{}", errors(&second));

    running.signal(Signal::INT);
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(world.stopped(), [true; 3]);
    for name in TIERS {
        assert!(log.contains(&format!("{name:<12} | {name} speaks\n")), "{log}");
        assert_eq!(world.read(&format!("data/logs/{name}.log")), format!("{name} speaks\n"));
    }
    let (secrets, key) = (world.read("data/cluster.secrets"), world.read("data/md5.key"));
    assert!(!secrets.is_empty() && !key.is_empty());

    let (running, text) = world.until_up(&[]);
    assert!(text.contains("those that are there"), "{text}");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(0));
    assert_eq!((world.read("data/cluster.secrets"), world.read("data/md5.key")), (secrets, key));
}

#[test]
fn the_demo_accounts_are_friends_that_sign_in_by_md5() {
    let world = World::new();
    world.condition.met();
    let (running, _) = world.until_up(&["--data", "elsewhere"]);
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(0));

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use common::model::{List, Passport};
        let config = common::config::StoreConfig { path: world.path("elsewhere"), ..Default::default() };
        let store = common::store::open(&config).await.unwrap();
        let key = common::credentials::SealingKey::load(&world.path("elsewhere/md5.key")).unwrap().unwrap();
        let [alice, bob, carol] =
            ["alice", "bob", "carol"].map(|name| Passport::parse(&format!("{name}@example.com")).unwrap());
        for owner in [&alice, &bob, &carol] {
            let account = store.account(owner).await.unwrap().unwrap();
            let sealed = account.credentials.sealed_password.unwrap();
            assert_eq!(key.open(owner, account.claim, &sealed).as_deref(), Some("wonderland"));
            let roster = store.roster(owner).await.unwrap().unwrap();
            for contact in [&alice, &bob, &carol].into_iter().filter(|contact| *contact != owner) {
                let on = |list| roster.is_on(list, contact);
                assert!(on(List::Forward) && on(List::Allow) && on(List::Reverse), "{owner} {contact}");
                assert!(!on(List::Pending) && !on(List::Block), "{owner} {contact}");
            }
        }
    });
}

#[test]
fn the_children_get_the_configuration_and_find_each_other() {
    let world = World::new();
    world.condition.met();
    fs::write(world.path("monarch.toml"), "[log]\nfilter = 'warn'\n").unwrap();
    let (running, _) = world.until_up(&["--data", "d", "--no-demo", "--set", "notification.capacity=5"]);
    let arguments = TIERS.map(|name| world.read(&format!("{name}.arguments")));
    for line in &arguments {
        for part in ["--config monarch.toml", "--set store.path=d ", "--set notification.capacity=5"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
    assert!(arguments[0].ends_with("--set cluster.seeds=\n"), "{}", arguments[0]);
    assert!(arguments[1].ends_with("--set cluster.seeds=127.0.0.1:4002\n"), "{}", arguments[1]);
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn when_one_ends_the_others_are_stopped() {
    let world = World::new();
    world.condition.met();
    let (running, _) = world.until_up(&["--no-demo"]);
    let pid: i32 = world.read("notification.pid").trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let (code, log) = running.end();
    assert_eq!(code, Some(1), "{log}");
    let expected = "monarch: notification has ended (signal: 9 (SIGKILL)); the end of data/logs/notification.log:\n    \
                    notification speaks";
    assert!(log.contains(expected), "{log}");
    assert_eq!(world.stopped(), [true, false, true]);
}

#[test]
fn one_that_fails_at_its_start_is_named_with_its_last_words() {
    let world = World::new();
    fs::write(world.path("switchboard"), "#!/bin/sh\necho no such luck >&2\nexit 7\n").unwrap();
    let output = world.up(&["--no-demo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = errors(&output);
    assert!(log.contains("switchboard has ended (exit status: 7)") && log.contains("    no such luck\n"), "{log}");
    fs::remove_file(world.path("notification")).unwrap();
    let log = errors(&world.up(&["--no-demo"]).output().unwrap());
    assert!(log.contains("there is no") && log.contains("cargo build --release"), "{log}");
}

#[test]
fn last_words_that_come_late_are_waited_for() {
    let world = World::new();
    // While its end is being looked into, another one announces itself.
    let late = "#!/bin/sh\n(sleep 0.4; echo so late >&2) &\nexit 7\n";
    fs::write(world.path("switchboard"), late).unwrap();
    let notification = world.read("notification").replacen("#!/bin/sh\n", "#!/bin/sh\nsleep 0.2\n", 1);
    fs::write(world.path("notification"), notification).unwrap();
    let output = world.up(&["--no-demo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = errors(&output);
    assert!(log.contains("switchboard has ended (exit status: 7)") && log.contains("    so late\n"), "{log}");
}

#[test]
fn one_that_never_gets_ready_is_given_up() {
    let world = World::new();
    let output = world.up(&["--no-demo", "--ready-timeout=1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = errors(&output);
    assert!(log.contains("dispatch is not ready after 1 s (gossip: no neighbour)"), "{log}");
    assert_eq!(world.stopped(), [true; 3]);
}

#[test]
fn a_signal_during_the_start_stops_what_was_started() {
    let world = World::new();
    let child = world.up(&["--no-demo"]).spawn().unwrap();
    eventually("all are started", || TIERS.iter().all(|name| !world.read(&format!("{name}.pid")).is_empty()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(world.stopped(), [true; 3]);
}

#[test]
fn the_children_end_when_it_is_killed() {
    let world = World::new();
    world.condition.met();
    let (running, _) = world.until_up(&["--no-demo"]);
    let children = TIERS.map(|name| world.read(&format!("{name}.pid")).trim().parse().unwrap());
    running.signal(Signal::KILL);
    assert_eq!(running.end().0, None);
    for pid in children {
        eventually("a child has ended", || test_kill_process(Pid::from_raw(pid).unwrap()).is_err());
    }
    assert_eq!(world.stopped(), [true; 3]);
}

#[test]
fn nonsense_is_refused_before_anything_is_started() {
    let world = World::new();
    let output =
        world.up(&["--dispatch-listen", "127.0.0.1:9", "--switchboard-listen=127.0.0.1:9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = world.up(&["--set", &format!("notification.node.peer={address}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = errors(&output);
    assert!(log.contains(&address) && log.contains("--notification-node-peer IP:PORT"), "{log}");
    assert!(!world.path("dispatch.pid").exists());
}

#[test]
fn several_of_a_tier_have_names_and_ports_of_their_own_and_others_find_them() {
    let world = World::new();
    world.condition.met();
    let (running, text) = world.until_up(&["--no-demo", "--nodes=1,2,1"]);
    assert!(text.contains("also notification-2 127.0.0.1:4001"), "{text}");
    assert!(world.path("data/logs/notification-2.log").exists());
    let noted = world.read("data/up.addresses");
    assert!(noted.contains("notification-2 listening admin="), "{noted}");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(0));
    assert!(!world.path("data/up.addresses").exists());

    let refused = world.up(&["--no-demo", "--nodes=0,1,1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", errors(&refused));
}
