//! macOS crash reports, `.ips`: a line of JSON about the report, and a JSON document about the crash. From bytes; anything may be
//! missing.
//!
//! macOS writes them to `~/Library/Logs/DiagnosticReports/PROCESS-DATE.ips`. The format is Apple's "Interpreting the JSON format of a crash
//! report".

use serde_json::Value;
use std::fmt;

/// How many frames of the faulting thread are kept: the innermost ones.
const MOST_FRAMES: usize = 16;

/// What a crash report says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// The program's name, by the report's first line.
    pub app_name: Option<String>,
    /// `309` for a crash.
    pub bug_type: Option<String>,
    /// When, as the report writes it.
    pub timestamp: Option<String>,
    /// Which system.
    pub os_version: Option<String>,
    /// The process's number.
    pub pid: Option<u32>,
    /// The process's name.
    pub process: Option<String>,
    /// Its program.
    pub path: Option<String>,
    /// Whose child it was.
    pub parent: Option<String>,
    /// Such as `EXC_CRASH` or `EXC_BAD_ACCESS`.
    pub exception: Option<String>,
    /// Such as `SIGABRT`.
    pub signal: Option<String>,
    /// Such as `KERN_INVALID_ADDRESS at 0x0000000000000010`.
    pub subtype: Option<String>,
    /// Who ended it, and why.
    pub termination: Option<Termination>,
    /// What libraries have said, such as `abort() called`.
    pub said: Vec<String>,
    /// The thread that crashed.
    pub thread: Option<Thread>,
}

/// Who ended the process, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Termination {
    /// Who decided it: `SIGNAL`, `JETSAM` (memory), `CODESIGNING` and so on.
    pub namespace: Option<String>,
    /// The reason's number within that.
    pub code: Option<i64>,
    /// In words, such as `Abort trap: 6`.
    pub indicator: Option<String>,
    /// Which process sent it.
    pub by: Option<String>,
    /// That process's number.
    pub by_pid: Option<u32>,
}

/// The thread that crashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thread {
    /// Its index in the report.
    pub index: usize,
    /// Its name, or its queue's.
    pub name: Option<String>,
    /// What it was doing, innermost first: `symbol (image)`.
    pub frames: Vec<String>,
}

/// Why something is no crash report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoReport(String);

impl fmt::Display for NoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is no crash report: {}", self.0)
    }
}

impl std::error::Error for NoReport {}

/// Which of the files in `~/Library/Logs/DiagnosticReports`, by their names, is the newest report of a process of this name;
/// `None` if there is none. It may come some seconds after the death, and need not be of the process that is meant: its
/// [`pid`](CrashReport::pid) says that.
///
/// ```
/// # use termleash::process::death::ips::newest_of;
/// let names = ["server-2026-11-29-101500.ips", "server-2026-11-30-090000.ips", "server-tool-2026-12-01-090000.ips"];
/// assert_eq!(newest_of(names, "server"), Some("server-2026-11-30-090000.ips"));
/// ```
pub fn newest_of<'a>(names: impl IntoIterator<Item = &'a str>, process: &str) -> Option<&'a str> {
    // `NAME-2026-11-29-101500.ips`, with something such as `.000` before the end for a second one in that second.
    let time = |name: &'a str| {
        let rest = name.strip_prefix(process)?.strip_prefix('-')?.strip_suffix(".ips")?;
        let is_time = rest.get(..17)?.bytes().zip(b"0000-00-00-000000").all(|(byte, shape)| match shape {
            b'-' => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        is_time.then_some((rest, name))
    };
    names.into_iter().filter_map(time).max().map(|(_, name)| name)
}

impl CrashReport {
    /// Reads a report.
    ///
    /// # Errors
    ///
    /// If these are not two JSON objects one behind the other.
    ///
    /// ```
    /// # use termleash::process::death::ips::CrashReport;
    /// let report = br#"{"app_name":"server","bug_type":"309"}
    /// {"pid": 7, "exception": {"type": "EXC_CRASH", "signal": "SIGABRT"}}"#;
    /// assert_eq!(CrashReport::parse(report)?.signal.as_deref(), Some("SIGABRT"));
    /// # Ok::<(), termleash::process::death::ips::NoReport>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, NoReport> {
        let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        let mut next = |what: &str| match documents.next() {
            Some(Ok(value)) if value.is_object() => Ok(value),
            Some(Ok(_)) => Err(NoReport(format!("its {what} is no object"))),
            Some(Err(cause)) => Err(NoReport(format!("its {what} cannot be read: {cause}"))),
            None => Err(NoReport(format!("its {what} is missing"))),
        };
        let (head, body) = (next("first document")?, next("second document")?);
        let exception = &body["exception"];
        Ok(Self {
            app_name: text(&head["app_name"]),
            bug_type: text(&head["bug_type"]),
            timestamp: text(&head["timestamp"]).or_else(|| text(&body["captureTime"])),
            os_version: text(&head["os_version"]),
            pid: number(&body["pid"]),
            process: text(&body["procName"]),
            path: text(&body["procPath"]),
            parent: text(&body["parentProc"]),
            exception: text(&exception["type"]),
            signal: text(&exception["signal"]),
            subtype: text(&exception["subtype"]),
            termination: body["termination"].is_object().then(|| Termination::of(&body["termination"])),
            said: said(&body["asi"]),
            thread: Thread::of(&body),
        })
    }
}

impl Termination {
    fn of(value: &Value) -> Self {
        Self {
            namespace: text(&value["namespace"]),
            code: value["code"].as_i64(),
            indicator: text(&value["indicator"]),
            by: text(&value["byProc"]),
            by_pid: number(&value["byPid"]),
        }
    }
}

impl Thread {
    /// The one that `faultingThread` names, else the one that was triggered.
    fn of(body: &Value) -> Option<Self> {
        let threads = body["threads"].as_array()?;
        let named = number::<usize>(&body["faultingThread"]);
        let triggered = || threads.iter().position(|thread| thread["triggered"].as_bool() == Some(true));
        let index = named.or_else(triggered)?;
        let thread = threads.get(index)?;
        let frames = thread["frames"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            index,
            name: text(&thread["name"]).or_else(|| text(&thread["queue"])),
            frames: frames.iter().take(MOST_FRAMES).map(|frame| shown(frame, &body["usedImages"])).collect(),
        })
    }
}

fn shown(frame: &Value, images: &Value) -> String {
    let image = number::<usize>(&frame["imageIndex"]).and_then(|index| images.get(index));
    let image = image.and_then(|image| text(&image["name"])).unwrap_or_else(|| "?".to_owned());
    match (text(&frame["symbol"]), frame["imageOffset"].as_u64()) {
        (Some(symbol), _) => format!("{symbol} ({image})"),
        (None, Some(offset)) => format!("{offset:#x} ({image})"),
        (None, None) => format!("? ({image})"),
    }
}

/// `{"libsystem_c.dylib": ["abort() called"]}`.
fn said(value: &Value) -> Vec<String> {
    let lists = value.as_object().into_iter().flat_map(|object| object.values());
    lists.filter_map(Value::as_array).flatten().filter_map(text).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_u64()?).ok()
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
        let process = self.process.as_ref().or(self.app_name.as_ref());
        write!(f, "{}", process.map_or("a process", String::as_str))?;
        self.pid.iter().try_for_each(|pid| write!(f, " (pid {pid})"))?;
        write!(f, ": {} ({})", or(&self.exception), or(&self.signal))?;
        self.subtype.iter().try_for_each(|subtype| write!(f, ", {subtype}"))?;
        if let Some(Termination { by: Some(by), .. }) = &self.termination {
            write!(f, ", ended by {by}")?;
        }
        self.said.iter().try_for_each(|said| write!(f, ", {said}"))?;
        if let Some(thread) = &self.thread {
            write!(f, "; in thread {}", thread.name.clone().unwrap_or_else(|| thread.index.to_string()))?;
            thread.frames.iter().take(3).try_for_each(|frame| write!(f, " < {frame}"))?;
        }
        Ok(())
    }
}
