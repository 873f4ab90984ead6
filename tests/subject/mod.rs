//! A server to look at: this test binary again, as a process that leaks on command what it is told to, over a pipe.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use termleash::process::ProcessHandle;

/// Says that this process is the subject.
const SUBJECT: &str = "TEST_SUBJECT";
/// Says that it has been replaced by itself, and owes the answer to that.
const AGAIN: &str = "TEST_SUBJECT_AGAIN";
/// What it answers to a command that it has carried out.
const DONE: &str = "@done";

/// The process, from outside. It ends, with all that it has started, when this is dropped.
pub(crate) struct Subject {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Subject {
    /// Starts it: the test named `subject` of this binary, which must call [`serve_if_told`].
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["--exact", "subject", "--nocapture", "--test-threads=1"]).env(SUBJECT, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start this program again");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it is a pipe"));
        let mut subject = Self { child, stdin, stdout: BufReader::new(stdout) };
        subject.tell("nothing");
        subject
    }

    pub(crate) fn handle(&self) -> ProcessHandle {
        ProcessHandle::open(self.child.id()).expect("it lives")
    }

    /// Has it carry out a command, and waits for that.
    pub(crate) fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("it is not ended yet");
        writeln!(stdin, "{command}").expect("it reads");
        let mut line = String::new();
        // libtest's own lines stand between, without an end sometimes.
        while !line.ends_with(&format!("{DONE}\n")) {
            line.clear();
            assert!(self.stdout.read_line(&mut line).expect("it answers") > 0, "it has ended after `{command}`");
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
    }

    pub(crate) fn wait(&mut self) {
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // At the end of its input it ends what it has started, and itself.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// In the subject's own process carries out commands until there are no more; elsewhere nothing.
pub(crate) fn serve_if_told() {
    if std::env::var_os(SUBJECT).is_some() {
        serve();
    }
}

fn serve() {
    let mut leaks = Leaks::new();
    if std::env::var_os(AGAIN).is_some() {
        println!("{DONE}");
    }
    for line in std::io::stdin().lines() {
        leaks.carry_out(&line.expect("a line of text"));
        println!("{DONE}");
    }
    leaks.end();
    // libtest would wait for the threads.
    std::process::exit(0);
}

/// All that was leaked.
struct Leaks {
    files: Vec<OwnedFd>,
    children: Vec<Child>,
    memory: Vec<Vec<u8>>,
    spins: Arc<AtomicBool>,
    forks: Arc<AtomicBool>,
    forks_every: Arc<AtomicU64>,
    wake: [mpsc::Sender<()>; 2],
    pool: Pool,
}

impl Leaks {
    fn new() -> Self {
        let (spins, forks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // They are there from the beginning, so that what they do is no thread more.
        let spinner = worker(Arc::clone(&spins), || {
            let until = Instant::now() + Duration::from_millis(5);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        });
        let forks_every = Arc::new(AtomicU64::new(20));
        let pace = Arc::clone(&forks_every);
        let forker = worker(Arc::clone(&forks), move || {
            command("true").spawn().expect("start true").wait().expect("it is our child");
            std::thread::sleep(Duration::from_millis(pace.load(Ordering::Relaxed)));
        });
        let (files, children, memory) = (Vec::with_capacity(512), Vec::with_capacity(512), Vec::with_capacity(512));
        Self { files, children, memory, spins, forks, forks_every, wake: [spinner, forker], pool: Pool::default() }
    }

    fn carry_out(&mut self, command_line: &str) {
        match command_line {
            "nothing" => {}
            "work" => work(),
            "breathe" => self.pool.breathe(),
            "descriptor" => self.files.push(File::open("/dev/null").expect("open a file").into()),
            "master" => self.files.push(pty().0),
            "slave" => {
                let (_master, slave) = pty();
                self.children.push(command("sleep").arg("1000").stdin(slave).spawn().expect("start sleep"));
            }
            "zombie" => self.children.push(command("true").spawn().expect("start true")),
            "child" => self.children.push(command("sleep").arg("1000").spawn().expect("start sleep")),
            "setsid" => {
                self.children.push(command("setsid").args(["sleep", "1000"]).spawn().expect("start setsid"));
            }
            "thread" => {
                let parked = || loop {
                    std::thread::park();
                };
                std::thread::Builder::new().name("a-leak".into()).spawn(parked).expect("start a thread");
            }
            "heap" => self.memory.push(vec![1; 64 << 10]),
            "spin" => self.start(0),
            "fork" => self.start(1),
            // A tenth of a second and more between two.
            "beat" => {
                self.forks_every.store(110, Ordering::Relaxed);
                self.start(1);
            }
            "exec" => {
                let mut again = Command::new(std::env::current_exe().expect("a path"));
                again.args(std::env::args_os().skip(1)).env(AGAIN, "1");
                panic!("it did not exec: {}", again.exec());
            }
            other => panic!("no such command: {other}"),
        }
    }

    fn start(&self, worker: usize) {
        [&self.spins, &self.forks][worker].store(true, Ordering::Relaxed);
        let _ = self.wake[worker].send(());
    }

    fn end(&mut self) {
        self.forks.store(false, Ordering::Relaxed);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A thread that does this again and again once it is woken, for as long as it is told to.
fn worker(is_on: Arc<AtomicBool>, act: impl Fn() + Send + 'static) -> mpsc::Sender<()> {
    let (wake, woken) = mpsc::channel();
    std::thread::spawn(move || {
        while woken.recv().is_ok() {
            while is_on.load(Ordering::Relaxed) {
                act();
            }
        }
    });
    wake
}

/// A pseudo-terminal, neither side of which a child inherits.
fn pty() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("open a pty");
    grantpt(&master).expect("grant it");
    unlockpt(&master).expect("unlock it");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).expect("open its other side");
    (master, slave)
}

/// What a session does that leaves nothing.
fn work() {
    let (master, slave) = pty();
    let mut child = command("true").stdin(slave).spawn().expect("start true");
    let thread = std::thread::spawn(|| vec![1_u8; 256 << 10].len());
    child.wait().expect("it is our child");
    thread.join().expect("it does not panic");
    drop(master);
}

/// What a server keeps for a while: up to four threads that end when they are idle, and connections for 200 ms.
#[derive(Default)]
struct Pool {
    connections: Vec<(Instant, TcpStream, TcpStream)>,
    threads: Arc<()>,
}

impl Pool {
    fn breathe(&mut self) {
        const IDLE: Duration = Duration::from_millis(200);
        self.connections.retain(|(since, ..)| since.elapsed() < IDLE);
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        self.connections.push((Instant::now(), near, listener.accept().expect("accept").0));
        if Arc::strong_count(&self.threads) <= 4 {
            let held = Arc::clone(&self.threads);
            std::thread::spawn(move || {
                std::thread::sleep(IDLE);
                drop(held);
            });
        }
    }
}
