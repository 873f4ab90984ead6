//! What a server gets, when it is ready, and what is told of one that is not.

use crate::program::listen_beside_others;
use crate::seen::{lives, soon};
use crate::{children, script, serving, whole_home};
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;
use termleash::server::{ServerGuard, ServerSpec};
use termleash::{Error, block_on};

const SHORT: Duration = Duration::from_secs(1);

#[test]
fn a_server_is_reached_at_its_own_port_and_gone_afterwards() {
    for what in ["serve", "serve late", "serve on six", "serve in a child", "serve in a lost child"] {
        let server = serving(what).start_blocking().unwrap();
        let (pid, home, port) = (server.pid(), server.home().to_owned(), server.port());
        let place = if what == "serve on six" { "::1" } else { "127.0.0.1" };
        let mut stream = TcpStream::connect((place, port)).unwrap();
        stream.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let host = if place == "::1" { "[::1]" } else { place };
        assert_eq!(server.url(), format!("http://{host}:{port}"));
        if cfg!(feature = "http") {
            serving(what).ready_http("/x").start_blocking().unwrap().close_blocking().unwrap();
        }
        let end = server.close_blocking().unwrap();
        assert_eq!(end.status().unwrap().signal(), Some(15), "{what}");
        assert!(end.suspects().is_empty() && end.holders().is_empty(), "{end:?}");
        assert!(!lives(pid) && !whole_home(&home).exists());
        assert!(TcpStream::connect((place, port)).is_err());
        assert!(end.log().text().contains("serving"));
    }
}

#[test]
fn its_home_is_its_own_and_so_are_its_descriptors_and_its_kernel_session() {
    let text = "echo \"$HOME|$XDG_RUNTIME_DIR|$TMPDIR|$TMUX_TMPDIR|$MINE|$1\"; ls -l /proc/self/fd; tty; cat; \
                umask; cut -d' ' -f5-6 /proc/$$/stat; ls -ld $HOME/..; echo ready; sleep 1000";
    let spec = script(text).args(["sh", "{state}/x"]).env("MINE", "{tmp}").ready_line("ready");
    let server = spec.start_blocking().unwrap();
    let home = whole_home(server.home()).to_owned();
    let log = server.log().text();
    let shown = home.display();
    let expected = format!("{shown}/home|{shown}/run|{shown}/tmp|{shown}/run|{shown}/tmp|{shown}/state/x\n");
    assert!(log.starts_with(&expected), "{log}");
    assert!(log.contains("not a tty") && log.contains("0 -> /dev/null"), "{log}");
    // Standard ones, and the listing's own.
    assert_eq!(log.matches(" -> ").count(), 4, "{log}");
    assert!(log.contains("drwx------"), "{log}");
    let pid = server.pid();
    assert!(log.contains(&format!("\n{pid} {pid}\n")), "it leads a group and a session: {log}");
    assert_eq!(server.runtime_dir(), home.join("run"));
    server.close_blocking().unwrap();
    assert!(!home.exists());
}

#[test]
fn a_server_is_ready_by_its_log_or_its_socket() {
    let server =
        script("sleep 0.1; printf 'now '; sleep 0.1; echo listening >&2; sleep 1000").ready_line("now listening");
    let server = server.start_blocking().unwrap();
    assert_eq!(server.log().text(), "now listening\n");
    server.close_blocking().unwrap();

    // In the foreground, and without a session.
    let tmux = ServerGuard::command("tmux").args(["-S", "{runtime}/s", "-f", "/dev/null", "-D"]);
    let server = tmux.without_port().ready_socket("s").start_blocking().unwrap();
    assert!(server.runtime_dir().join("s").exists() && server.is_alive());
    server.close_blocking().unwrap();
}

/// Somebody listened there before; then the server takes the place, or leaves it as it is.
#[test]
fn a_socket_outside_of_its_home_is_the_servers_only_if_the_server_listens_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let stranger = UnixListener::bind(&path).unwrap();
    let spec = || script("exec sleep 1000").ready_socket(path.to_str().unwrap()).ready_within(SHORT);
    let error = spec().start_blocking().unwrap_err();
    let told = format!("at its socket `{}`, where another process does, pid {}", path.display(), std::process::id());
    assert!(error.is_timeout() && error.to_string().contains(&told), "{error}");
    // A name in its home may lead out of it.
    let link = format!("ln -s '{}' \"$XDG_RUNTIME_DIR/s\"; exec sleep 1000", path.display());
    let error = script(&link).ready_socket("s").ready_within(4 * SHORT).start_blocking().unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("where another process does"), "{error}");
    stranger.set_nonblocking(true).unwrap();
    let waiting = stranger.incoming().take_while(Result::is_ok).count();
    assert!(waiting < 10, "{waiting} connections stand in the queue of somebody's clients");

    let serve = |what: &str| serving(what).ready_socket(path.to_str().unwrap()).env("TEST_SOCKET", &path);
    let starts = |what: &str| {
        let server = serve(what).start_blocking().unwrap();
        assert!(UnixStream::connect(&path).is_ok(), "{what}");
        server.close_blocking().unwrap();
    };
    starts("serve on a socket");
    // Once who began to listen is dead, a name that two sockets have proves nothing.
    drop(stranger);
    starts("leave a socket to a child");
}

#[cfg(feature = "http")]
#[test]
fn a_server_is_ready_by_http_if_it_says_so() {
    for path in ["/health", "/moved"] {
        serving("serve late").ready_http(path).start_blocking().unwrap().close_blocking().unwrap();
    }
    let error = serving("serve").ready_http("/no").ready_within(SHORT).start_blocking().unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("/no` answers with a status"), "{error}");
    assert!(error.to_string().contains("it is alive, and listens at its port"), "{error}");
}

#[cfg(not(feature = "http"))]
#[test]
fn a_server_that_is_ready_by_http_needs_the_feature() {
    let error = serving("serve").ready_http("/health").start_blocking().unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("feature `http`"), "{error}");
}

#[test]
fn an_early_death_is_told_with_its_status_and_the_end_of_its_log() {
    let text = "printf '\\033[31mno config\\033[0m\\n'; exit 3";
    let error = script(text).ready_line("never").start_blocking().unwrap_err();
    let said = error.to_string();
    assert!(error.is_server_ended(), "{said}");
    for part in
        ["the server `sh -c", "died before it was ready: by exit status 3", "s after its start", "  | no config"]
    {
        assert!(said.contains(part), "{part:?} is not in it: {said}");
    }
    assert!(!said.contains('\x1b'), "{said}");
    let error = script("kill -SEGV $$").ready_line("never").start_blocking().unwrap_err();
    assert!(error.to_string().contains("signal 11 (SIGSEGV)"), "{error}");
    let said = error.to_string();
    let cause = "cause of death: signal 11 (SIGSEGV): a fault of its own, unless somebody sent it (what it printed last gives no reason";
    assert!(said.contains(cause), "{said}");
    let script_of_abort = "echo 'memory allocation of 64 bytes failed'; kill -ABRT $$";
    let said = script(script_of_abort).ready_line("never").start_blocking().unwrap_err().to_string();
    assert!(said.contains("cause of death: out of memory: an allocation of 64 B failed"), "{said}");
    let error = script("sleep 1000 & exit 0").ready_line("never").start_blocking().unwrap_err();
    assert!(error.to_string().contains("stay in the foreground"), "{error}");
}

#[test]
fn a_server_that_is_late_is_told_with_what_it_does_instead_and_ended() {
    let error = script("echo $$ waiting; exec sleep 1000")
        .ready_line("never")
        .ready_within(SHORT)
        .start_blocking()
        .unwrap_err();
    let said = error.to_string();
    assert!(error.is_timeout(), "{said}");
    for part in ["waited that it prints \"never\"", "it is alive, and listens at no port", "ready_within", "  | "] {
        assert!(said.contains(part), "{part:?} is not in it: {said}");
    }
    let pid = said.rsplit("  | ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(!lives(pid));

    for what in ["serve elsewhere", "serve elsewhere in a lost child"] {
        let said = serving(what).ready_within(4 * SHORT).start_blocking().unwrap_err().to_string();
        let port = said.rsplit("elsewhere is ").next().unwrap().split_whitespace().next().unwrap();
        assert!(said.contains(&format!("listens at {port} instead")), "{said}");
    }
}

/// The port that a server writes into a file, as soon as it has.
fn port_in(path: &Path) -> u16 {
    let mut port = String::new();
    soon("its port", || {
        port = std::fs::read_to_string(path).unwrap_or_default();
        port.ends_with('\n')
    });
    port.trim().parse().unwrap()
}

/// Listens at that port, and takes nobody in.
fn stranger_at_the_port_in(path: PathBuf) -> JoinHandle<TcpListener> {
    std::thread::spawn(move || TcpListener::bind(("127.0.0.1", port_in(&path))).unwrap())
}

/// Those who wait there to be taken in.
fn waiting_at(stranger: JoinHandle<TcpListener>) -> Vec<TcpStream> {
    let stranger = stranger.join().unwrap();
    stranger.set_nonblocking(true).unwrap();
    stranger.incoming().map_while(Result::ok).collect()
}

#[cfg(feature = "http")]
fn has_sent_nothing(mut connection: TcpStream) {
    let mut said = String::new();
    connection.set_nonblocking(false).unwrap();
    connection.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

/// What is told of a server whose port a stranger has, who takes nobody in; and who waits there.
fn beside_a_stranger(condition: impl FnOnce(ServerSpec) -> ServerSpec) -> (Error, Vec<TcpStream>) {
    let text = "echo $PORT > port; exec sleep 1000";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("port");
    let stranger = stranger_at_the_port_in(path.clone());
    let spec = ServerGuard::command("sh").args(["-c", text]).current_dir(directory.path()).port_variable("PORT");
    let error = condition(spec).ready_within(4 * SHORT).start_blocking().unwrap_err();
    (error, waiting_at(stranger))
}

/// Else a test would talk to whatever has the port.
#[test]
fn a_port_that_a_stranger_took_is_not_the_servers() {
    let (error, waiting) = beside_a_stranger(|spec| spec);
    assert!(error.is_timeout() && error.to_string().contains("where another process does"), "{error}");
    assert!(waiting.len() < 10, "{} connections stand in the queue of somebody's clients", waiting.len());
}

#[cfg(feature = "http")]
#[test]
fn a_stranger_at_the_servers_port_is_sent_no_request() {
    let (error, waiting) = beside_a_stranger(|spec| spec.ready_http("/health"));
    assert!(error.is_timeout() && !waiting.is_empty(), "{error}");
    waiting.into_iter().for_each(has_sent_nothing);
}

/// A server that gives its port back before it is ready.
#[cfg(feature = "http")]
#[test]
fn who_gets_a_port_after_the_server_is_sent_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("port");
    let stranger = stranger_at_the_port_in(path.clone());
    let spec = serving("answer once and give the port back").env("TEST_GIVES", &path).ready_http("/no");
    let error = spec.ready_within(6 * SHORT).start_blocking().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    waiting_at(stranger).into_iter().for_each(has_sent_nothing);
}

/// Two may listen at one address, and the kernel gives each connection to either.
#[test]
fn a_port_that_the_server_shares_with_a_stranger_is_not_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (port, taken) = (directory.path().join("port"), directory.path().join("taken"));
    let stranger = std::thread::spawn({
        let (path, taken) = (port.clone(), taken.clone());
        move || {
            let listener = listen_beside_others(port_in(&path));
            std::fs::write(taken, "").unwrap();
            listener
        }
    });
    let spec = serving("serve beside others").env("TEST_TELLS", &port).env("TEST_WAITS", &taken);
    let error = spec.ready_within(4 * SHORT).start_blocking().unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("where another process does"), "{error}");
    stranger.join().unwrap();
}

/// And its URL names the one of the two addresses at which it is not the stranger.
#[test]
fn a_server_beside_a_stranger_at_the_other_address_is_reached_by_its_url() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    for (what, other, own) in [("serve on six", "127.0.0.1", "[::1]"), ("serve", "[::1]", "127.0.0.1")] {
        let directory = tempfile::tempdir().unwrap();
        let (port, taken) = (directory.path().join("port"), directory.path().join("taken"));
        let stranger = std::thread::spawn({
            let (path, taken) = (port.clone(), taken.clone());
            move || {
                let mut port = String::new();
                soon("its port", || {
                    port = std::fs::read_to_string(&path).unwrap_or_default();
                    port.ends_with('\n')
                });
                let listener = TcpListener::bind(format!("{other}:{}", port.trim())).unwrap();
                std::fs::write(taken, "").unwrap();
                listener
            }
        });
        let spec = serving(what).env("TEST_TELLS", &port).env("TEST_WAITS", &taken);
        let server = spec.start_blocking().unwrap();
        assert_eq!(server.url(), format!("http://{own}:{}", server.port()));
        stranger.join().unwrap();
        server.close_blocking().unwrap();
    }
}

#[test]
fn a_port_that_was_taken_meanwhile_is_replaced_by_another_three_times_at_most() {
    let directory = tempfile::tempdir().unwrap();
    for (taken, starts) in [("2", 3), ("9", 3)] {
        let path = directory.path().join(taken);
        let spec = serving("find its port taken").env("TEST_COUNT", &path).env("TEST_TAKEN", taken);
        let started = spec.start_blocking();
        assert_eq!(std::fs::read_to_string(&path).unwrap().len(), starts);
        match started {
            Ok(server) => drop(server.close_blocking().unwrap()),
            Err(error) => assert!(taken == "9" && error.to_string().contains("started 3 times"), "{error}"),
        }
    }
}

#[test]
fn what_cannot_be_started_leaves_nothing() {
    // With a short path, or it is not used.
    let place = tempfile::Builder::new().prefix("t").rand_bytes(6).tempdir_in("/tmp").unwrap();
    if let Some(ran) = children::alone(&[("TMPDIR", place.path().to_str().unwrap())]) {
        ran.passed();
        // The keeper beside the test process ends after it, and its ledger with it.
        soon("the end of the keeper", || std::fs::read_dir(place.path()).unwrap().count() == 0);
        return;
    }
    let place = std::env::temp_dir();
    let server = script("exec sleep 1000").start_blocking().unwrap();
    assert!(server.home().starts_with(&place), "{}", server.home().display());
    server.close_blocking().unwrap();
    let error = ServerGuard::command("no-such-server").without_port().start_blocking().unwrap_err();
    assert!(error.is_invalid_input() && error.to_string().contains("no program `no-such-server`"), "{error}");
    let error = script("x").current_dir("/no/such/directory").start_blocking().unwrap_err();
    assert!(error.to_string().contains("working directory"), "{error}");
    assert!(ServerGuard::command("x").start_blocking().unwrap_err().is_invalid_input());
}

/// From too few descriptors to enough, one by one: what could not be undone for want of one is the keeper's.
#[test]
fn a_start_leaves_nothing_however_many_descriptors_are_left() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::fd::AsRawFd as _;
    let place = tempfile::Builder::new().prefix("t").rand_bytes(6).tempdir_in("/tmp").unwrap();
    if let Some(ran) = children::alone(&[("TMPDIR", place.path().to_str().unwrap())]) {
        ran.passed();
        soon("the end of the keeper", || std::fs::read_dir(place.path()).unwrap().count() == 0);
        return;
    }
    block_on(async {
        let spec = || script("echo ready; exec sleep 1000").ready_line("ready");
        // What is opened once is open.
        spec().start().await.unwrap().close().await.unwrap();
        let lowest = std::fs::File::open("/dev/null").unwrap();
        let first = u64::try_from(lowest.as_raw_fd()).unwrap();
        drop(lowest);
        let before = getrlimit(Resource::Nofile);
        let mut started = Vec::new();
        for limit in first..first + 20 {
            setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
            let server = spec().start().await;
            setrlimit(Resource::Nofile, before).unwrap();
            let told = server.as_ref().err().map(Error::to_string).unwrap_or_default();
            assert!(server.is_ok() || told.contains("Too many open files") && !told.contains("SIGCHLD"), "{told}");
            started.push(server.is_ok());
            if let Ok(server) = server {
                server.close().await.unwrap();
            }
            let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let own = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
            let own: String = own.collect();
            assert!(!own.is_empty() && own.split_whitespace().all(children::is_keeper), "{told}: {own}");
        }
        assert!(!started[0] && started[19] && started.is_sorted(), "{started:?}");
    });
}

#[test]
fn a_start_that_is_given_up_ends_its_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let starting = script("echo $$ > pid; exec sleep 1000").current_dir(directory.path()).ready_line("never").start();
    let mut starting = Box::pin(starting);
    // Without the feature `tokio` there is no timer but ours.
    block_on(poll_fn(|context| {
        assert!(starting.as_mut().poll(context).is_pending(), "it is not ready");
        if std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::thread::yield_now();
        Poll::Pending
    }));
    drop(starting);
    let pid = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
    soon("its end", || !lives(pid));
}

#[test]
fn a_log_is_kept_up_to_its_cap_and_says_what_it_dropped() {
    let spec = serving("print much").log_cap(64 << 10).ready_line("that is all");
    let server = spec.start_blocking().unwrap();
    let log = server.log();
    assert!(log.bytes().len() <= 64 << 10 && log.text().ends_with("that is all\n"), "{}", log.bytes().len());
    assert!(log.dropped_bytes() > 9_000_000, "{}", log.dropped_bytes());
    server.close_blocking().unwrap();
}
