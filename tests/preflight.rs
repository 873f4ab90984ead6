//! A preflight on states that were made for real: each item fails of its own, names what it found, and ends nobody.

#![cfg(target_os = "linux")]

mod children;

use serde_json::json;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use termleash::process::ProcessHandle;
use termleash::server::{Check, CheckItem, CheckOutcome, Checklist, Preflight, SessionRecord};
use termleash::session::{FakeBackend, Fault, Method, SessionId};

/// A process of somebody else's, ended when it is dropped.
struct Stranger(Child);

impl Stranger {
    fn new(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// One that has something open and does nothing.
    fn with(open: impl Into<OwnedFd>) -> Self {
        Self::new(Command::new("sleep").arg("1000").stdin(open.into()))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // A preflight has ended nobody.
        let was_alive = self.0.try_wait().unwrap().is_none();
        let _ = self.0.kill();
        let _ = self.0.wait();
        assert!(was_alive || std::thread::panicking(), "it was ended by somebody else");
    }
}

fn only(list: &Checklist, what: CheckItem) -> &Check {
    let mut found = list.items().iter().filter(|check| check.what == what);
    let check = found.next().unwrap_or_else(|| panic!("{what} is not in it:\n{list}"));
    assert!(found.next().is_none(), "{list}");
    check
}

#[track_caller]
fn passes(preflight: &Preflight, what: CheckItem) -> Check {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let list = preflight.check();
        let check = only(&list, what);
        if check.outcome == CheckOutcome::Passed {
            return check.clone();
        }
        // A child that another test has just forked has everything of ours open until its exec.
        assert!(Instant::now() < end, "{check}");
        std::thread::yield_now();
    }
}

/// It fails, says all of these, and stops the run if it is required.
#[track_caller]
fn fails(preflight: &Preflight, what: CheckItem, parts: &[&str]) -> Check {
    let list = preflight.clone().require(what).check();
    let check = only(&list, what);
    assert_eq!(check.outcome, CheckOutcome::Failed, "{check}");
    for part in parts {
        assert!(check.found.contains(part), "{part:?} is not in: {check}");
    }
    assert!(!check.to_do.is_empty() && list.clone().into_result().unwrap_err().is_not_ready());
    check.clone()
}

/// A process's number may be part of another number.
fn with_words_replaced(text: &str, from: &str, to: &str) -> String {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(from) {
        let (before, behind) = (&rest[..at], &rest[at + from.len()..]);
        let is_word = !before.ends_with(|char: char| char.is_ascii_digit() || char == '.')
            && !behind.starts_with(|char: char| char.is_ascii_digit() || char == '.');
        replaced += before;
        replaced += if is_word { to } else { from };
        rest = behind;
    }
    replaced + rest
}

/// The numbers of this run.
fn masked(text: &str, pairs: &[(&str, &str)]) -> String {
    let text = pairs.iter().fold(text.to_owned(), |text, (from, to)| with_words_replaced(&text, from, to));
    let here = format!("`{}`", std::env::current_dir().unwrap().display());
    let text = text.replace(&here, "`HERE`");
    // Its age is less than a minute.
    (0..60).rev().fold(text, |text, seconds| text.replace(&format!(", for {seconds}s"), ", for Ns"))
}

#[test]
fn a_port_in_use_is_told_with_who_has_it_on_either_protocol() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let port = listener.local_addr().unwrap().port();
        let preflight = Preflight::new().port(port);
        fails(
            &preflight,
            CheckItem::Port,
            &["this is the test process itself", &format!("pid {}", std::process::id())],
        );
        let stranger = Stranger::with(listener);
        let check = fails(&preflight, CheckItem::Port, &[&format!("pid {} `sleep 1000`", stranger.pid())]);
        let (pid, port_text) = (stranger.pid().to_string(), port.to_string());
        if address.starts_with('1') {
            insta::assert_snapshot!(masked(&check.to_string(), &[(&pid, "PID"), (&port_text, "PORT")]), @r"
            ✗ failed (required): port PORT: in use on 127.0.0.1 by pid PID `sleep 1000`, for Ns, in `HERE`
                  to do: end it if it is yours (`kill PID`), or give the tests another port
            ");
        }
        drop(stranger);
        passes(&preflight, CheckItem::Port);
    }
}

#[test]
fn connections_that_wait_for_their_end_use_no_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    // Who closes first waits.
    drop((listener, server));
    drop(client);
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    assert!(table.contains(&format!(":{:04X}", address.port())), "the connection is still there");
    passes(&Preflight::new().port(address.port()), CheckItem::Port);
}

#[test]
fn another_instance_is_known_by_what_is_executed_and_not_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (program, twin) = (folder.path().join("server"), folder.path().join("other/server"));
    std::fs::create_dir(twin.parent().unwrap()).unwrap();
    let sleep = ["/usr/bin/sleep", "/bin/sleep"].map(Path::new).into_iter().find(|path| path.exists()).unwrap();
    for copy in [&program, &twin] {
        std::fs::copy(sleep, copy).unwrap();
    }
    let preflight = Preflight::new().program(program.to_str().unwrap());
    // Another file of the same name and content.
    let _other = Stranger::new(Command::new(&twin).arg("1000"));
    passes(&preflight, CheckItem::Program);
    let instance = Stranger::new(Command::new(&program).arg("1000"));
    let check = fails(&preflight, CheckItem::Program, &["1 run: ", &format!("pid {}", instance.pid())]);
    assert!(!check.to_do.contains("kill"), "{check}");
    // Neither ourselves nor those that we descend from.
    let own = std::env::current_exe().unwrap();
    let list = Preflight::new().program(own.to_str().unwrap()).check();
    assert!(!only(&list, CheckItem::Program).found.contains(&format!("pid {} ", std::process::id())), "{list}");
}

#[test]
fn a_script_is_told_from_others_that_the_same_interpreter_runs() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["serve.sh", "other.sh"] {
        std::fs::write(folder.path().join(name), "read line\n").unwrap();
    }
    let start =
        |name: &str| Stranger::new(Command::new("sh").arg(name).current_dir(folder.path()).stdin(Stdio::piped()));
    let script = folder.path().join("serve.sh");
    let preflight = Preflight::new().program(format!("sh {} --port 4020", script.display()));
    let _other = start("other.sh");
    passes(&preflight, CheckItem::Program);
    let instance = start("./serve.sh");
    // Until its exec it is this program.
    let mut list = preflight.check();
    for _ in 0..1000 {
        if only(&list, CheckItem::Program).outcome == CheckOutcome::Failed {
            break;
        }
        std::thread::yield_now();
        list = preflight.check();
    }
    fails(&preflight, CheckItem::Program, &["1 run: ", &format!("pid {} `sh ./serve.sh`", instance.pid())]);
}

#[test]
fn a_program_that_is_not_there_could_not_be_looked_for() {
    let list = Preflight::new().program("no-such-program").require(CheckItem::Program).check();
    let check = only(&list, CheckItem::Program);
    assert!(check.outcome == CheckOutcome::CouldNotLook && check.found.contains("no-such-program") && check.stops());
}

#[test]
fn whoever_works_in_the_state_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let preflight = Preflight::new().state_directory(&path);
    passes(&preflight, CheckItem::StateDirectory);
    // The test's own are none.
    let file = File::create(path.join("state.json")).unwrap();
    passes(&preflight, CheckItem::StateDirectory);

    let holder = Stranger::with(file);
    let check = fails(&preflight, CheckItem::StateDirectory, &["state.json` open", &format!("pid {}", holder.pid())]);
    let (pid, shown) = (holder.pid().to_string(), path.display().to_string());
    insta::assert_snapshot!(masked(&check.to_string(), &[(&pid, "PID"), (&shown, "STATE")]), @r"
    ✗ failed (required): state directory `STATE`: in use: pid PID `sleep 1000`, for Ns, in `HERE` has `STATE/state.json` open
          to do: give the server of the tests a state directory of its own (its HOME, mostly): another port does not keep two servers apart that share their state
    ");
    drop(holder);

    let worker = Stranger::new(Command::new("sleep").arg("1000").current_dir(&path).stdin(Stdio::null()));
    fails(&preflight, CheckItem::StateDirectory, &[&format!("pid {}", worker.pid())]);
    drop(worker);

    let socket = std::os::unix::net::UnixListener::bind(path.join("s")).unwrap();
    let listener = Stranger::with(socket);
    fails(&preflight, CheckItem::StateDirectory, &[&format!("pid {}", listener.pid()), "listens on", "/s`"]);
    drop(listener);

    let locked = File::create(path.join("lock")).unwrap();
    locked.lock().unwrap();
    // A lock is the open file's: this one's is its own.
    let stranger = Stranger::with(locked.try_clone().unwrap());
    fails(&preflight, CheckItem::StateDirectory, &["/lock` open"]);
    drop(stranger);
    drop(locked);
    passes(&preflight, CheckItem::StateDirectory);
    passes(&Preflight::new().state_directory(path.join("not-yet")), CheckItem::StateDirectory);
}

#[test]
fn a_process_that_a_pid_file_names_is_a_maybe_and_a_younger_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.pid");
    let preflight = Preflight::new().state_directory(folder.path());
    let server = Stranger::new(Command::new("sleep").arg("1000").stdin(Stdio::null()));
    std::fs::write(&file, format!("{}\n", server.pid())).unwrap();
    fails(&preflight, CheckItem::StateDirectory, &["maybe pid", &server.pid().to_string(), "server.pid` names"]);
    // Written before that process began: its id was another's then.
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&file).unwrap().set_modified(an_hour_ago).unwrap();
    passes(&preflight, CheckItem::StateDirectory);
    for text in ["", "x", "-1", "0", "99999999999999999999", "1 2 3"] {
        std::fs::write(&file, text).unwrap();
        let list = preflight.check();
        let outcome = only(&list, CheckItem::StateDirectory).outcome;
        assert!(outcome == CheckOutcome::Passed || text == "1 2 3", "{text:?}: {list}");
    }
}

#[test]
fn too_few_descriptors_stop_the_run_with_what_raises_them() {
    if let Some(ran) = children::alone(&[]) {
        ran.passed();
        return;
    }
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let preflight = Preflight::new();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 100), maximum }).unwrap();
    fails(&preflight, CheckItem::Descriptors, &["soft limit"]);
    passes(&preflight.clone().free_descriptors(20), CheckItem::Descriptors);
}

#[test]
fn headroom_that_no_machine_has_is_missing() {
    let preflight = Preflight::new().free_ptys(u64::MAX).free_memory(u64::MAX).free_descriptors(u64::MAX);
    fails(&preflight, CheckItem::Ptys, &["free"]);
    fails(&preflight, CheckItem::Memory, &["available on this machine"]);
    fails(&preflight, CheckItem::Descriptors, &["open in this process"]);
    let none = Preflight::new().free_ptys(0).free_memory(0).free_descriptors(0);
    none.check().assert_ok();
}

/// A ledger's line.
fn line(record: &serde_json::Value) -> String {
    let json = record.to_string();
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
}

const DEAD: &str = "0198c0de0000700080000000000000aa";

/// The ledger of a run with this owner.
fn ledger(place: &Path, owner: &serde_json::Value) {
    let run = json!({"kind": "run", "format": 1, "run": uuid::Uuid::parse_str(DEAD).unwrap(), "owner": owner,
        "user": rustix::process::geteuid().as_raw(), "name": "a_test_that_died", "create_within_ms": 5000, "since": 1});
    std::fs::write(place.join(format!("{DEAD}.ledger")), line(&run)).unwrap();
}

/// Something that was made an hour ago.
fn age(path: &Path) {
    File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

#[test]
fn what_dead_runs_have_left_is_named_and_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut folder = tempfile::Builder::new();
    let folder = folder.permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap();
    let (place, temporary) = (folder.path().join("ledgers"), folder.path().join("tmp"));
    let variables = [("TERMLEASH_LEDGER", place.to_str().unwrap()), ("TMPDIR", temporary.to_str().unwrap())];
    if !children::is_child() {
        for directory in [&place, &temporary] {
            std::fs::create_dir(directory).unwrap();
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    if let Some(ran) = children::alone(&variables) {
        ran.passed();
        return;
    }
    let place = std::path::PathBuf::from(std::env::var_os("TERMLEASH_LEDGER").unwrap());
    // No process of another test has it.
    let digits = format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().1);
    let name = format!("tl-{digits}");
    let sleeper =
        |variable: &str| Stranger::new(Command::new("sleep").arg("1000").env(variable, DEAD).stdin(Stdio::null()));
    let (session, other) = (sleeper(&format!("TERMLEASH_S_{digits}")), sleeper("SOMETHING_ELSE"));
    let record =
        |id: &str, stranger: &Stranger| SessionRecord::new(SessionId::new(id).unwrap()).with_leader(stranger.pid());
    let preflight = Preflight::new().stale_sessions([record("s-1", &session), record("s-2", &other)]);
    let before = passes(&preflight, CheckItem::StaleSessions);
    assert!(before.found.contains("2 sessions of others"), "{before}");

    // Our own identity with another start is nobody's.
    let own = serde_json::to_value(ProcessHandle::open(std::process::id()).unwrap().identity()).unwrap();
    let mut dead = own.clone();
    dead["started"] = json!(1);
    ledger(&place, &dead);
    fails(&preflight, CheckItem::Leftovers, &["`a_test_that_died`, dead", DEAD]);
    let check = fails(&preflight, CheckItem::StaleSessions, &["1 of dead runs: `s-1`", "1 others"]);
    assert!(check.to_do.contains("termleash::sweep()"), "{check}");
    // Nothing was touched.
    assert!(place.join(format!("{DEAD}.ledger")).exists());
    // A run that lives has left nothing.
    ledger(&place, &own);
    let list = preflight.check();
    assert!(!only(&list, CheckItem::Leftovers).found.contains("a_test_that_died"), "{list}");
    assert_eq!(only(&list, CheckItem::StaleSessions).outcome, CheckOutcome::Passed);
    std::fs::remove_file(place.join(format!("{DEAD}.ledger"))).unwrap();

    // A home directory is left if it is old, and nobody carries its cookie.
    let home = std::env::temp_dir().join(&name);
    std::fs::create_dir(&home).unwrap();
    let leftovers = || only(&preflight.check(), CheckItem::Leftovers).found.clone();
    assert!(!leftovers().contains(&name), "it is new");
    age(&home);
    assert!(!leftovers().contains(&name), "somebody carries its cookie");
    drop(session);
    fails(&preflight, CheckItem::Leftovers, &[&format!("{name}` of no living run")]);
    assert!(home.exists());
}

#[tokio::test]
async fn a_backend_is_asked_for_its_sessions_and_one_that_cannot_answer_stops_the_run() {
    let fake = FakeBackend::new().with_processes();
    fake.spawn_bystander("theirs").unwrap();
    let preflight = Preflight::new().stale_sessions_on(&fake).await;
    assert!(passes(&preflight, CheckItem::StaleSessions).found.contains("1 sessions"));
    assert_eq!(fake.calls().iter().filter(|call| call.method == Method::List).count(), 1);
    fake.set_faults([Fault::Fails(Method::List)]);
    let list = Preflight::new().stale_sessions_on(&fake).await.require(CheckItem::StaleSessions).check();
    let check = only(&list, CheckItem::StaleSessions);
    assert!(check.outcome == CheckOutcome::CouldNotLook && check.stops(), "{check}");
}

#[test]
fn what_is_required_and_was_not_said_stops_the_run() {
    let list = Preflight::new().require(CheckItem::Port).check();
    assert!(only(&list, CheckItem::Port).stops(), "{list}");
    // All that is looked at, and no more.
    let list = Preflight::new().free_ptys(0).free_memory(0).free_descriptors(0).require_all().check();
    assert_eq!(list.items().len(), 4);
    assert!(list.items().iter().all(|check| check.is_required));
}

#[test]
fn a_machine_that_does_not_show_its_processes_stops_what_is_required() {
    let Some(ran) = children::in_namespace("mount -t tmpfs none /proc", &[]) else {
        let preflight = Preflight::new().port(9).program("sh").state_directory("/tmp").stale_sessions([]).require_all();
        let list = preflight.check();
        for check in list.items() {
            assert!(check.outcome == CheckOutcome::CouldNotLook && check.stops(), "{check}");
        }
        assert!(list.items().len() == 8 && !list.is_ok());
        return;
    };
    if ran.text.contains("unshare") && !ran.status.success() {
        eprintln!("not tested: no mount namespace can be had here: {}", ran.text);
        return;
    }
    ran.passed();
}

#[test]
fn a_test_whose_preflight_fails_does_not_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let preflight = Preflight::new().port(listener.local_addr().unwrap().port()).require(CheckItem::Port);
    for in_process in [true, false] {
        let options = termleash::options().name("a_test").preflight(preflight.clone());
        let options = if in_process { options.in_process() } else { options };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            options.run_blocking(|_| panic!("the body ran"));
        }));
        let text = ran.unwrap_err().downcast::<String>().unwrap();
        assert!(text.starts_with("test `a_test` was not run: preflight: the run was not begun"), "{text}");
    }
    drop(listener);
    passes(&preflight, CheckItem::Port);
    termleash::options().name("a_test").in_process().preflight(preflight).run_blocking(|_| Ok(()));
}
