//! A report for a person: short, in the order of what to do, and the same however wide the terminal is.

use crate::leak::{Attribution, Finding, Item, Kind, LeakReport, Level, Memory, Resource, Verdict};
use crate::report::advice;
use crate::report::console::Color;
use std::fmt::{self, Write};
use std::time::Duration;

/// More findings than this are counted instead of shown: nobody reads so many.
const MOST_FINDINGS: usize = 25;
/// More numbers than this are counted instead of shown.
const MOST_NUMBERS: usize = 8;
/// More notes than this say nothing new of the same leak.
const MOST_NOTES: usize = 3;
/// More findings than this that differ in their names alone are one line: a log for each session, say.
const MOST_ALIKE: usize = 3;

impl LeakReport {
    /// The text that a failing check panics with.
    pub fn render(&self, color: Color) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write_report(&mut text, self, color);
        text
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Color::Never))
    }
}

fn write_report(text: &mut String, report: &LeakReport, color: Color) -> fmt::Result {
    text.push_str("leak check");
    if let Some(name) = &report.name {
        write!(text, " of `{name}`")?;
    }
    if let Some(process) = &report.process {
        write!(text, "{} {process}", if report.name.is_some() { " on" } else { " of" })?;
    }
    writeln!(text, ": {}", summary(report, color))?;
    if report.level == Level::Off {
        return Ok(());
    }
    write_findings(text, &report.findings, report.process.is_some(), color)?;
    for why in &report.not_looked_at {
        let (word, verdict, advice) = match (why.is_unsupported, why.is_required) {
            (true, false) => ("not looked at", Verdict::Suspicious, UNSUPPORTED),
            (true, true) => ("could not look at", Verdict::CouldNotCheck, REQUIRED),
            (false, _) if report.process.is_some() => ("could not look at", Verdict::CouldNotCheck, BLIND_PROCESS),
            (false, _) => ("could not look at", Verdict::CouldNotCheck, blind_advice(why.resource)),
        };
        writeln!(text, "{} {}: {}", painted(word, verdict, color), why.resource, why.cause)?;
        writeln!(text, "    to do: {advice}")?;
    }
    for ignored in &report.ignored {
        match ignored.matched {
            0 => writeln!(text, "the rule to ignore {} matched nothing: it can be taken out", ignored.rule)?,
            count => writeln!(text, "ignored: {count} by the rule {}", ignored.rule)?,
        }
    }
    if let Some(memory) = report.memory {
        write_memory(text, memory)?;
    }
    let looks = match report.settled.looks {
        1 => "looked once".to_owned(),
        looks => {
            let last = report.settled.last.as_ref().map(|last| format!(", the last to go was {last}"));
            format!("looked {looks} times in {}{}", duration(report.settled.took), last.unwrap_or_default())
        }
    };
    writeln!(
        text,
        "{looks}, {} after the baseline; {}",
        duration(report.lasted),
        whose(report.attribution, report.process.is_some())
    )?;
    match &report.containment {
        Some(containment) => writeln!(text, "containment: {containment}"),
        None => Ok(()),
    }
}

const REQUIRED: &str = "run it on Linux with /proc, or take it out of `TERMLEASH_REQUIRE`";
const UNSUPPORTED: &str = "nothing; this system has no such probe. `TERMLEASH_REQUIRE` makes that a failure";

const BLIND_PROCESS: &str = "run the test as the user who runs the process, while it lives, and let it be dumpable (prctl(2)): nothing is \
                              known, so it counts as a failure";

/// How sure it is whose growth this is, of this process or of another.
pub(crate) fn whose(attribution: Attribution, is_of_process: bool) -> String {
    match (is_of_process, attribution.is_exact()) {
        (false, _) => attribution.to_string(),
        (true, true) => "nobody else uses that process, as the check was told".into(),
        (true, false) => "others may use that process".into(),
    }
}

fn blind_advice(resource: Resource) -> &'static str {
    match resource {
        Resource::Descriptors | Resource::Threads | Resource::Processes => {
            "mount /proc, or raise `ulimit -n`: nothing is known, so it counts as a failure"
        }
        _ => "see the cause: nothing is known, so it counts as a failure",
    }
}

/// `2 leaked, 1 suspicious`, or the one word that says it all.
fn summary(report: &LeakReport, color: Color) -> String {
    if report.level == Level::Off {
        return "not looked, the level is off".into();
    }
    let verdicts = [Verdict::CouldNotCheck, Verdict::Interfered, Verdict::Leaked, Verdict::Suspicious];
    let mut parts = Vec::new();
    for verdict in verdicts {
        let found = report.findings.iter().filter(|finding| finding.verdict == verdict);
        let count: usize = found.map(|finding| finding.items.len()).sum();
        if count > 0 {
            parts.push(painted(&format!("{count} {verdict}"), verdict, color));
        }
    }
    if report.verdict == Verdict::CouldNotCheck || parts.is_empty() {
        parts.insert(0, painted(&report.verdict.to_string(), report.verdict, color));
    }
    parts.join(", ")
}

/// What is alike stands together, and is named in full a few times only.
fn write_findings(text: &mut String, findings: &[Finding], is_of_process: bool, color: Color) -> fmt::Result {
    let mut shown = 0;
    for alike in findings.chunk_by(are_alike) {
        if shown >= MOST_FINDINGS {
            break;
        }
        let (full, rest) = alike.split_at(alike.len().min(MOST_ALIKE).min(MOST_FINDINGS - shown));
        // One more takes no more room by itself.
        let (full, rest) = if rest.len() == 1 { (alike, &[][..]) } else { (full, rest) };
        for finding in full {
            write_finding(text, finding, is_of_process, color)?;
        }
        shown += alike.len();
        if let [first, ..] = rest {
            let count: usize = rest.iter().map(|finding| finding.items.len()).sum();
            let names: Vec<String> = rest.iter().map(|finding| format!("`{}`", finding.item().name)).collect();
            let verdict = painted(&first.verdict.to_string(), first.verdict, color);
            let (_, several) = first.item().kind.words();
            writeln!(text, "{verdict}: {count} more {several}: {}", few(&names))?;
        }
    }
    if let Some(more) = findings.len().checked_sub(shown).filter(|more| *more > 0) {
        writeln!(text, "and {more} more findings, which `to_json` shows")?;
    }
    Ok(())
}

/// True if two findings differ in their names and numbers alone.
fn are_alike(one: &Finding, other: &Finding) -> bool {
    let of = |item: &Item| (item.kind, item.state.clone(), item.made_at.clone(), item.replaces.clone());
    one.verdict == other.verdict && of(one.item()) == of(other.item()) && one.item().stack.is_none()
}

fn write_finding(text: &mut String, finding: &Finding, is_of_process: bool, color: Color) -> fmt::Result {
    let (item, count) = (finding.item(), finding.items.len());
    let verdict = painted(&finding.verdict.to_string(), finding.verdict, color);
    let advice = if is_of_process {
        advice::for_process(finding.verdict, item)
    } else {
        advice::for_finding(finding.verdict, item)
    };
    let (one, several) = item.kind.words();
    match count {
        1 => write!(text, "{verdict}: {one}")?,
        _ => write!(text, "{verdict}: {count} {several}")?,
    }
    if !item.name.is_empty() {
        write!(text, " `{}`", item.name)?;
    }
    let which: Vec<&str> = finding.items.iter().filter_map(|item| item.which.as_deref()).collect();
    if !which.is_empty() {
        write!(text, " {}", few(&which))?;
    }
    if let Some(word) = number_word(item.kind) {
        let numbers: Vec<String> =
            finding.items.iter().filter_map(|item| item.number).map(|number| number.to_string()).collect();
        if !numbers.is_empty() {
            write!(text, ", {word}{} {}", if numbers.len() == 1 { "" } else { "s" }, few(&numbers))?;
        }
    }
    if let Some(age) = finding.items.iter().filter_map(|item| item.age).max() {
        write!(text, ", there for {}", duration(age))?;
    }
    if let Some(state) = &item.state {
        write!(text, ", {state}")?;
    }
    text.push('\n');
    if let Some(place) = &item.made_at {
        writeln!(text, "    made at {place}")?;
    }
    if let Some(old) = &item.replaces {
        writeln!(text, "    in the place of {old}, which was there before")?;
    }
    let notes: Vec<&String> = finding.items.iter().flat_map(|item| &item.notes).collect();
    for note in notes.iter().take(MOST_NOTES) {
        writeln!(text, "    {note}")?;
    }
    if let Some(more) = notes.len().checked_sub(MOST_NOTES).filter(|more| *more > 0) {
        writeln!(text, "    and {more} more notes like these")?;
    }
    if let Some(stack) = &item.stack {
        writeln!(text, "    stack of its creation:")?;
        for line in stack.lines() {
            writeln!(text, "      {}", line.trim_end())?;
        }
    }
    if finding.verdict == Verdict::Suspicious {
        writeln!(text, "    to do: {}", if is_of_process { advice::SHARED_PROCESS } else { advice::SUSPICIOUS })?;
        return writeln!(text, "    if it is this test's: {advice}");
    }
    writeln!(text, "    to do: {advice}")
}

/// What the number of an item is; a session's is its leader's.
fn number_word(kind: Kind) -> Option<&'static str> {
    match kind.resource() {
        Resource::Descriptors => Some("descriptor"),
        Resource::Processes | Resource::Sessions => Some("pid"),
        Resource::Threads => Some("tid"),
        _ => None,
    }
}

fn few<T: AsRef<str>>(all: &[T]) -> String {
    let shown: Vec<&str> = all.iter().take(MOST_NUMBERS).map(AsRef::as_ref).collect();
    let rest = all.len() - shown.len();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    shown.join(", ") + &more
}

fn write_memory(text: &mut String, memory: Memory) -> fmt::Result {
    let Memory { before, after, peak, private, .. } = memory;
    write!(text, "memory: {} resident ({})", bytes(after), growth(before, after))?;
    write!(text, ", {} at its peak", bytes(peak))?;
    if let Some(private) = private {
        write!(text, ", {} of its own", bytes(private))?;
    }
    writeln!(text)
}

fn growth(before: u64, after: u64) -> String {
    match after.checked_sub(before) {
        Some(0) => "unchanged".into(),
        Some(more) => format!("+{}", bytes(more)),
        None => format!("-{}", bytes(before - after)),
    }
}

/// A size to a tenth of a unit.
pub(crate) fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).display().iec().to_string()
}

/// A duration to three digits, so that it can be read: `1.23s`.
pub(crate) fn duration(duration: Duration) -> String {
    format!("{duration:.3?}").replace(".000", "")
}

/// A word in the colour of its verdict.
pub(crate) fn painted(word: &str, verdict: Verdict, color: Color) -> String {
    if color == Color::Never {
        return word.to_owned();
    }
    let code = match verdict {
        Verdict::Clean | Verdict::SettledLate | Verdict::OneTimeInit => "32",
        Verdict::Suspicious | Verdict::Inconclusive => "33",
        Verdict::Leaked | Verdict::Interfered | Verdict::CouldNotCheck => "1;31",
    };
    format!("\x1b[{code}m{word}\x1b[0m")
}
