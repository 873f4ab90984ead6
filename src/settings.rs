//! What `TERMLEASH_…` variables say: the only place that reads them.
//!
//! A value that cannot be read is an error that names the variable, the value and a good one; never a default that
//! the user did not ask for.

use crate::error::{Error, Result};
use crate::limits::{self, Limits, MAX_OUTPUT, MIN_DESCRIPTORS, MIN_MEMORY, MIN_OUTPUT};
use bytesize::ByteSize;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// The defaults of every helper and backend of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `TERMLEASH_GRACE`: from the first hang-up to the KILL.
    pub(crate) grace: Duration,
    /// `TERMLEASH_WAIT`: how long `wait_for_text`, `wait_for_exit`, `run` and `write` wait.
    pub(crate) wait: Duration,
    /// `TERMLEASH_CREATE_TIMEOUT`: how long a backend may take to create a session.
    pub(crate) create: Duration,
    /// `TERMLEASH_MAX_OUTPUT`: how many bytes of a session's output are kept.
    pub(crate) max_output: usize,
    /// `TERMLEASH_LEAKS`: what a leak check does with what it finds.
    pub(crate) leaks: Level,
    /// `TERMLEASH_REQUIRE`: the names of what a check must be able to look at.
    pub(crate) require: Vec<String>,
    /// `TERMLEASH_SETTLE`: how long a leak check waits for what is on its way out.
    pub(crate) settle: Duration,
    /// `TERMLEASH_TIMEOUT`: the deadline of a test.
    pub(crate) timeout: Duration,
    /// `TERMLEASH_LEDGER`: the directory of the runs' files, an absolute path.
    pub(crate) ledger: Option<PathBuf>,
    /// `TERMLEASH_PROFILES`: the directory of heap profiles of tests that fail, an absolute path.
    pub(crate) profiles: Option<PathBuf>,
    /// `TERMLEASH_ISOLATE`: whether a test runs in a process of its own.
    pub(crate) isolation: Isolation,
    /// `TERMLEASH_SESSIONS` and the like: what a test may use, by the run's word, and else by that of all tests.
    pub(crate) limits: Limits,
    /// `TERMLEASH_KEEP`: whether what a test has at its end is kept.
    pub(crate) keeps: bool,
    /// `TERMLEASH_ADMISSION`: how long a test may wait for free memory.
    pub(crate) admission: Duration,
    /// `TERMLEASH_LOG`: what is printed as it happens.
    pub(crate) log: Log,
    /// `TERMLEASH_TIMELINES`: the directory that the timeline of each test is written to, an absolute path.
    pub(crate) timelines: Option<PathBuf>,
}

/// What is printed as it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    /// The lives of sessions.
    Sessions,
    /// And every read, write and sample.
    All,
}

/// Where a test runs that does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// In a process of its own, where that can be had.
    Auto,
    /// In the test process.
    Never,
}

/// The number of the channel that this process was started with under this name, if it was.
pub(crate) fn channel(name: &str) -> Option<i32> {
    std::env::var(name).ok()?.parse().ok().filter(|number| *number > 2)
}

/// Whatever its value.
pub(crate) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// What a variable of the user's choice holds: a secret, which goes nowhere but to where it is needed.
pub(crate) fn secret(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|secret| !secret.is_empty())
}

/// Our own environment for a program that talks to a server: less our own settings and the runner's, which are not its
/// business. The mark of an outer suite passes, as to a session.
pub(crate) fn environment_for_clients() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        let name = name.as_encoded_bytes();
        let is_ours = name.starts_with(b"TERMLEASH_") && !name.starts_with(b"TERMLEASH_S_");
        !is_ours && !name.starts_with(b"NEXTEST_")
    })
}

/// What a leak check does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It does not look.
    Off,
    /// It looks, tells what it finds as an [`Event::Warning`](crate::event::Event::Warning), and passes.
    Warn,
    /// It fails. The default.
    Fail,
    /// It fails, and looks closer: a stack of each session's creation is kept, and an eventfd, timerfd or signalfd that was
    /// replaced by another of its kind at its own number is seen, if the kernel tells the two apart. Slower.
    Paranoid,
}

/// What `TERMLEASH_REQUIRE` may name.
pub(crate) const REQUIRABLE: [&str; 4] = ["fds", "processes", "threads", "memory"];

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_millis(500),
            wait: Duration::from_secs(10),
            create: Duration::from_secs(5),
            max_output: 1 << 20,
            leaks: Level::Fail,
            require: Vec::new(),
            settle: Duration::from_secs(2),
            timeout: Duration::from_secs(30),
            ledger: None,
            profiles: None,
            isolation: Isolation::Auto,
            keeps: false,
            limits: Limits::new(),
            admission: Duration::from_secs(60),
            log: Log::Off,
            timelines: None,
        }
    }
}

impl Settings {
    /// # Errors
    ///
    /// If a variable has a value that cannot be read.
    pub(crate) fn from_env() -> Result<Self> {
        let mut settings = Self::read(|name| std::env::var_os(name))?;
        settings.limit(Limits::new(), &limits::of_all_tests());
        Ok(settings)
    }

    /// Those of a test come before what is there, and the others after it.
    pub(crate) fn limit(&mut self, first: Limits, last: &Limits) {
        self.limits = first.or(&std::mem::take(&mut self.limits)).or(last);
        self.max_output = self.limits.output.unwrap_or(self.max_output);
        self.timeout = self.limits.test_time.unwrap_or(self.timeout);
    }

    fn read(get_raw: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let mut settings = Self::default();
        let get = |name: &str| get_raw(name).map(|value| value.to_string_lossy().into_owned());
        let duration = |name: &str, default: Duration| match get(name) {
            None => Ok(default),
            Some(value) => humantime::parse_duration(&value)
                .map_err(|cause| malformed(name, &value, &cause, "a duration such as `500ms`, `2s` or `1m 30s`")),
        };
        settings.grace = duration("TERMLEASH_GRACE", settings.grace)?;
        settings.wait = duration("TERMLEASH_WAIT", settings.wait)?;
        settings.create = duration("TERMLEASH_CREATE_TIMEOUT", settings.create)?;
        // A machine of a CI service is slow at odd moments.
        let settle = if get("CI").is_some() { Duration::from_secs(5) } else { settings.settle };
        settings.settle = duration("TERMLEASH_SETTLE", settle)?;
        settings.timeout = duration("TERMLEASH_TIMEOUT", settings.timeout)?;
        if let Some(value) = get("TERMLEASH_LEAKS") {
            settings.leaks = level(&value)?;
        }
        if let Some(value) = get("TERMLEASH_ISOLATE") {
            settings.isolation = match value.as_str() {
                "auto" => Isolation::Auto,
                "never" => Isolation::Never,
                _ => {
                    return Err(malformed(
                        "TERMLEASH_ISOLATE",
                        &value,
                        &"no such way",
                        "one such as `auto` or `never`",
                    ));
                }
            };
        }
        if let Some(value) = get("TERMLEASH_KEEP") {
            settings.keeps = match value.as_str() {
                "1" => true,
                "0" | "" => false,
                _ => return Err(malformed("TERMLEASH_KEEP", &value, &"neither", "one such as `1` or `0`")),
            };
        }
        if let Some(value) = get("TERMLEASH_LOG") {
            settings.log = match value.as_str() {
                "off" => Log::Off,
                "sessions" => Log::Sessions,
                "all" => Log::All,
                _ => {
                    let good = "one such as `off`, `sessions` or `all`";
                    return Err(malformed("TERMLEASH_LOG", &value, &"no such log", good));
                }
            };
        }
        if let Some(value) = get("TERMLEASH_REQUIRE") {
            settings.require = required(&value)?;
        }
        if let Some(value) = get("TERMLEASH_MAX_OUTPUT") {
            let good = "a size of at least 4KiB such as `64KiB` or `16MiB`";
            let bytes = size("TERMLEASH_MAX_OUTPUT", &value, MIN_OUTPUT as u64..=MAX_OUTPUT as u64, good)?;
            settings.max_output = usize::try_from(bytes).unwrap_or(MAX_OUTPUT);
            settings.limits.output = Some(settings.max_output);
        }
        let counted = |name: &str| get(name).map(|value| count(name, &value, 1)).transpose();
        settings.limits.sessions = counted("TERMLEASH_SESSIONS")?;
        settings.limits.creations = counted("TERMLEASH_CREATIONS")?;
        settings.limits.test_time = get("TERMLEASH_TIMEOUT").map(|_| settings.timeout);
        let memory = |name: &str, least: u64, good: &str| {
            get(name).map(|value| size(name, &value, least..=u64::MAX, good)).transpose()
        };
        let good = "a size of at least 1MiB such as `512MiB` or `2GiB`";
        let session = &mut settings.limits.session;
        session.wall_time =
            get("TERMLEASH_WALL_TIME").map(|_| duration("TERMLEASH_WALL_TIME", Duration::MAX)).transpose()?;
        if session.wall_time == Some(Duration::ZERO) {
            return Err(malformed("TERMLEASH_WALL_TIME", "0s", &"out of range", "a duration such as `2s` or `1m 30s`"));
        }
        session.memory = memory("TERMLEASH_SESSION_MEMORY", MIN_MEMORY, good)?;
        session.processes = counted("TERMLEASH_PROCESSES")?;
        session.descriptors = get("TERMLEASH_DESCRIPTORS")
            .map(|value| count("TERMLEASH_DESCRIPTORS", &value, MIN_DESCRIPTORS))
            .transpose()?
            .map(|count| count as u64);
        settings.limits.test_memory = memory("TERMLEASH_MEMORY", MIN_MEMORY, good)?;
        settings.limits.body_memory = memory("TERMLEASH_BODY_MEMORY", MIN_MEMORY, good)?;
        settings.limits.free_memory = memory("TERMLEASH_FREE_MEMORY", 0, "a size such as `2GiB` or `0`")?;
        settings.admission = duration("TERMLEASH_ADMISSION", settings.admission)?;
        // Not as text: a path need not be UTF-8, and a replacement character would name another one.
        let directory = |name, good| get_raw(name).map(|value| absolute(name, value, good)).transpose();
        settings.ledger = directory("TERMLEASH_LEDGER", "/run/user/1000/termleash")?;
        settings.timelines = directory("TERMLEASH_TIMELINES", "/tmp/timelines")?;
        settings.profiles = directory("TERMLEASH_PROFILES", "/tmp/profiles")?;
        Ok(settings)
    }
}

fn size(name: &str, value: &str, range: RangeInclusive<u64>, good: &str) -> Result<u64> {
    let size: ByteSize = value.parse().map_err(|cause| malformed(name, value, &cause, good))?;
    let bytes = size.as_u64();
    if range.contains(&bytes) { Ok(bytes) } else { Err(malformed(name, value, &"out of range", good)) }
}

/// Nought would mean that nothing can run: whoever wants no limit unsets the variable.
fn count(name: &str, value: &str, least: usize) -> Result<usize> {
    let good = format!("a number of at least {least} such as `{}` or `100`", least * 4);
    match value.parse() {
        Ok(count) if count < least => Err(malformed(name, value, &"out of range", &good)),
        Ok(count) => Ok(count),
        Err(cause) => Err(malformed(name, value, &cause, &good)),
    }
}

fn level(value: &str) -> Result<Level> {
    match value {
        "off" => Ok(Level::Off),
        "warn" => Ok(Level::Warn),
        "fail" => Ok(Level::Fail),
        "paranoid" => Ok(Level::Paranoid),
        _ => Err(malformed(
            "TERMLEASH_LEAKS",
            value,
            &"no such level",
            "one such as `off`, `warn`, `fail` or `paranoid`",
        )),
    }
}

fn required(value: &str) -> Result<Vec<String>> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    if let Some(wrong) = names.iter().find(|name| !REQUIRABLE.contains(&name.as_str())) {
        let cause = format!("there is no probe `{wrong}`");
        let good = format!("some of {} such as `fds,processes`", REQUIRABLE.join(", "));
        return Err(malformed("TERMLEASH_REQUIRE", value, &cause, &good));
    }
    Ok(names)
}

fn absolute(name: &str, value: OsString, good: &str) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(path);
    }
    let good = format!("an absolute path such as `{good}`");
    Err(malformed(name, &path.to_string_lossy(), &"not an absolute path", &good))
}

fn malformed(name: &str, value: &str, cause: &dyn std::fmt::Display, good: &str) -> Error {
    Error::invalid(format!("the environment variable {name} is `{value}`: {cause}; write {good}, or unset it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Settings> {
        Settings::read(move |asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn reads_every_variable() {
        assert_eq!(Settings::read(|_| None).unwrap(), Settings::default());
        assert_eq!(with("TERMLEASH_GRACE", "1s 500ms").unwrap().grace, Duration::from_millis(1500));
        assert_eq!(with("TERMLEASH_WAIT", "2m").unwrap().wait, Duration::from_secs(120));
        assert_eq!(with("TERMLEASH_CREATE_TIMEOUT", "9s").unwrap().create, Duration::from_secs(9));
        assert_eq!(with("TERMLEASH_SETTLE", "3s").unwrap().settle, Duration::from_secs(3));
        assert_eq!(with("CI", "true").unwrap().settle, Duration::from_secs(5));
        assert_eq!(with("TERMLEASH_TIMEOUT", "3m").unwrap().timeout, Duration::from_secs(180));
        assert_eq!(with("TERMLEASH_LEAKS", "warn").unwrap().leaks, Level::Warn);
        assert_eq!(with("TERMLEASH_REQUIRE", "fds, threads").unwrap().require, ["fds", "threads"]);
        assert_eq!(with("TERMLEASH_MAX_OUTPUT", "64KiB").unwrap().max_output, 64 << 10);
        assert_eq!(with("TERMLEASH_ISOLATE", "never").unwrap().isolation, Isolation::Never);
        assert!(with("TERMLEASH_KEEP", "1").unwrap().keeps && !with("TERMLEASH_KEEP", "0").unwrap().keeps);
        assert_eq!(with("TERMLEASH_SESSIONS", "20").unwrap().limits, Limits::new().max_sessions(20));
        assert_eq!(with("TERMLEASH_CREATIONS", "4").unwrap().limits, Limits::new().max_creations(4));
        assert_eq!(with("TERMLEASH_TIMEOUT", "3m").unwrap().limits.test_time, Some(Duration::from_secs(180)));
        let limits = |name, value| with(name, value).unwrap().limits;
        let none = Limits::new;
        assert_eq!(limits("TERMLEASH_WALL_TIME", "2s"), none().wall_time(Duration::from_secs(2)));
        assert_eq!(limits("TERMLEASH_SESSION_MEMORY", "64MiB"), none().max_memory(64 << 20));
        assert_eq!(limits("TERMLEASH_PROCESSES", "20"), none().max_processes(20));
        assert_eq!(limits("TERMLEASH_DESCRIPTORS", "200"), none().max_descriptors(200));
        assert_eq!(limits("TERMLEASH_MEMORY", "512MiB"), none().max_test_memory(512 << 20));
        assert_eq!(limits("TERMLEASH_BODY_MEMORY", "1GiB"), none().max_body_memory(1 << 30));
        assert_eq!(limits("TERMLEASH_FREE_MEMORY", "0"), none().min_free_memory(0));
        assert_eq!(with("TERMLEASH_ADMISSION", "5m").unwrap().admission, Duration::from_secs(300));
        for (value, log) in [("off", Log::Off), ("sessions", Log::Sessions), ("all", Log::All)] {
            assert_eq!(with("TERMLEASH_LOG", value).unwrap().log, log);
        }
        let directory = std::env::temp_dir().join("x");
        let settings = Settings::read(|asked| (asked == "TERMLEASH_LEDGER").then(|| directory.clone().into())).unwrap();
        let asked =
            |wanted: &'static str| Settings::read(|asked| (asked == wanted).then(|| directory.clone().into())).unwrap();
        assert_eq!((settings.ledger, settings.profiles), (Some(directory.clone()), None));
        let settings = asked("TERMLEASH_PROFILES");
        assert_eq!((settings.ledger, settings.profiles), (None, Some(directory.clone())));
        assert_eq!(asked("TERMLEASH_TIMELINES").timelines, Some(directory));
    }

    #[test]
    fn a_malformed_value_names_variable_value_and_a_good_one() {
        for (name, value) in [
            ("TERMLEASH_GRACE", "soon"),
            ("TERMLEASH_WAIT", "-1s"),
            ("TERMLEASH_CREATE_TIMEOUT", ""),
            ("TERMLEASH_MAX_OUTPUT", "much"),
            ("TERMLEASH_MAX_OUTPUT", "1B"),
            ("TERMLEASH_SESSIONS", "0"),
            ("TERMLEASH_SESSIONS", "many"),
            ("TERMLEASH_CREATIONS", "-1"),
            ("TERMLEASH_WALL_TIME", "long"),
            ("TERMLEASH_SESSION_MEMORY", "64"),
            ("TERMLEASH_PROCESSES", "0"),
            ("TERMLEASH_DESCRIPTORS", "few"),
            ("TERMLEASH_DESCRIPTORS", "15"),
            ("TERMLEASH_WALL_TIME", "0s"),
            ("TERMLEASH_MEMORY", "much"),
            ("TERMLEASH_BODY_MEMORY", "1KiB"),
            ("TERMLEASH_FREE_MEMORY", "all"),
            ("TERMLEASH_ADMISSION", ""),
            ("TERMLEASH_SETTLE", "a while"),
            ("TERMLEASH_TIMEOUT", "never"),
            ("TERMLEASH_LEAKS", "Off"),
            ("TERMLEASH_REQUIRE", "fds,ports"),
            ("TERMLEASH_REQUIRE", ""),
            ("TERMLEASH_ISOLATE", "always"),
            ("TERMLEASH_ISOLATE", ""),
            ("TERMLEASH_KEEP", "yes"),
            ("TERMLEASH_LOG", "everything"),
            ("TERMLEASH_LOG", ""),
            ("TERMLEASH_LEDGER", "here"),
            ("TERMLEASH_LEDGER", ""),
            ("TERMLEASH_PROFILES", "target"),
            ("TERMLEASH_TIMELINES", "timelines"),
            ("TERMLEASH_TIMELINES", ""),
        ] {
            let error = with(name, value).unwrap_err();
            assert!(error.is_invalid_input());
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(&format!("`{value}`")) && text.contains("such as"), "{text}");
        }
    }
}
