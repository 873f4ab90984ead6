//! The members of a run, which hold one server together and write down what they got; and real runs of them, by cargo.

use super::program::serving;
use super::seen::{lives, soon, stat};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use termleash::server::ServerGuard;
use termleash::session::BoxError;

/// Where members write down what they got; absent in a process that tests.
pub(crate) const BOOK: &str = "TEST_BOOK";
/// How long each holds the server, in milliseconds.
pub(crate) const HOLDS: &str = "TEST_HOLDS";
/// How long the server stays without a user, in milliseconds; if nobody says that, for so long: longer than a busy machine needs
/// from one member to the next.
const IDLE: &str = "TEST_IDLE";
const A_WHILE: Duration = Duration::from_secs(3);
/// What a real run runs.
const PROGRAM: &str = "TEST_PROGRAM";
/// No run takes so long, and no server is waited for so long.
const FOR_EVER: &str = "1000000";
/// For cargo to compile one line and to run the members, on a busy machine.
const BOUND: Duration = Duration::from_secs(200);

/// A package whose tests are another program: that of the test which makes it. It has nothing to compile, so that a real run of
/// it takes no time, whatever this program was built with.
const MANIFEST: &str = "[package]\nname = \"nested\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
    [[test]]\nname = \"one\"\nharness = false\n[[test]]\nname = \"two\"\nharness = false\n";
const BECOMES_IT: &str = "use std::os::unix::process::CommandExt;\nfn main() {\n\
    let program = std::env::var_os(\"TEST_PROGRAM\").unwrap();\n\
    panic!(\"{}\", std::process::Command::new(program).args(std::env::args_os().skip(1)).exec());\n}\n";

pub(crate) fn is_member() -> bool {
    std::env::var_os(BOOK).is_some()
}

/// What a member does; its line is `server's pid, steward's pid, own pid, home`.
pub(crate) async fn hold() -> Result<(), BoxError> {
    let milliseconds = |name, otherwise| -> Result<Duration, BoxError> {
        std::env::var(name).map_or(Ok(otherwise), |text| Ok(Duration::from_millis(text.parse()?)))
    };
    let spec = serving("serve late").idle(milliseconds(IDLE, A_WHILE)?);
    let server = ServerGuard::shared("members", spec).await?;
    let steward = parent(server.pid()).ok_or("it has one")?;
    let line = format!("{} {steward} {} {}\n", server.pid(), std::process::id(), server.home().display());
    File::options().append(true).create(true).open(std::env::var(BOOK)?)?.write_all(line.as_bytes())?;
    tokio::time::sleep(milliseconds(HOLDS, Duration::ZERO)?).await;
    server.check()?;
    Ok(())
}

pub(crate) struct Book {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) idle: Duration,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), idle: A_WHILE }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("book")
    }

    fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    pub(crate) fn variables(&self, holds: &str) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let idle = self.idle.as_millis().to_string();
        let of_ledger = ("TERMLEASH_LEDGER", text(self.ledger()));
        [(BOOK, text(self.path())), of_ledger, (HOLDS, holds.into()), (IDLE, idle)]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }

    /// What all of them got, each in a process of its own: one server. It is gone, and so is everything of the run.
    #[track_caller]
    pub(crate) fn all_had_one(&self, members: usize) {
        let lines = lines(&self.path());
        assert_eq!(lines.len(), members, "{lines:?}");
        let servers: Vec<[u32; 2]> = lines.iter().map(|line| [word(line, 0), word(line, 1)]).collect();
        assert!(servers.iter().all(|server| *server == servers[0]), "{lines:?}");
        let mut bodies: Vec<u32> = lines.iter().map(|line| word(line, 2)).collect();
        bodies.sort_unstable();
        bodies.dedup();
        assert_eq!(bodies.len(), members, "{lines:?}");
        self.is_gone();
    }

    #[track_caller]
    pub(crate) fn is_gone(&self) {
        for line in lines(&self.path()) {
            soon("the end of server and steward", || !lives(word(&line, 0)) && !lives(word(&line, 1)));
            let home = Path::new(line.split(' ').nth(3).unwrap());
            soon("the end of its home", || !home.parent().unwrap().exists());
        }
        soon("the end of all ledgers", || !self.ledger().exists());
    }
}

pub(crate) fn word(line: &str, at: usize) -> u32 {
    line.split(' ').nth(at).unwrap().parse().unwrap()
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

/// What members of a run have written down, a line each.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// What came of a real run.
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) text: String,
}

/// A run of this very program's tests by cargo, as a person starts one. Its server would stay for ever without the run's end.
pub(crate) fn cargo(book: &Book, arguments: &[&str]) -> Run {
    let package = book.directory.path().join("package");
    std::fs::create_dir_all(package.join("src")).unwrap();
    std::fs::create_dir_all(package.join("tests")).unwrap();
    let files =
        [("Cargo.toml", MANIFEST), ("src/lib.rs", ""), ("tests/one.rs", BECOMES_IT), ("tests/two.rs", BECOMES_IT)];
    files.iter().for_each(|(name, text)| std::fs::write(package.join(name), text).unwrap());
    let output = book.directory.path().join("output");
    // A file: a pipe would be open for as long as somebody of the run holds it.
    let file = File::create(&output).unwrap();
    let mut command = cargo_command();
    command.args(arguments).current_dir(&package).env("CARGO_TARGET_DIR", package.join("target"));
    command.env(PROGRAM, std::env::current_exe().unwrap()).env("CARGO_NET_OFFLINE", "true").env("NO_COLOR", "1");
    command
        .envs(book.variables("300"))
        .env(IDLE, FOR_EVER)
        .env_remove("TERMLEASH_ISOLATE")
        .env_remove("TERMLEASH_KEEP");
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let start = Instant::now();
    loop {
        let text = || String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
        if let Some(status) = child.try_wait().unwrap() {
            return Run { status, text: text() };
        }
        if start.elapsed() > BOUND {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the run does not end:\n{}", text());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// cargo, without what an outer run of cargo or nextest has told this program.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let is_outer = name.to_str().is_some_and(|name| {
            let of_cargo = name.starts_with("CARGO_") && name != "CARGO_HOME";
            of_cargo || name.starts_with("NEXTEST") || name == "RUSTFLAGS" || name == "RUSTC_WORKSPACE_WRAPPER"
        });
        if is_outer {
            command.env_remove(name);
        }
    }
    command
}
