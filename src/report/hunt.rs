//! What a person reads of a hunt: each series as a line with a sparkline.

use crate::leak::{Confidence, Gauge, HuntReport, QuietWindows, Series, Verdict, sparkline};
use crate::report::advice;
use crate::report::console::Color;
use crate::report::text::{bytes, duration, painted, whose};
use std::fmt::{self, Write};

impl HuntReport {
    /// The text that a failing hunt panics with.
    pub fn render(&self, color: Color) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, color);
        text
    }

    fn write(&self, text: &mut String, color: Color) -> fmt::Result {
        text.push_str("leak hunt");
        if let Some(name) = &self.name {
            write!(text, " in `{name}`")?;
        }
        if let Some(process) = &self.process {
            write!(text, " on {process}")?;
        }
        let verdict = painted(&self.verdict.to_string(), self.verdict, color);
        writeln!(text, ": {verdict} after {} round{}", self.rounds, if self.rounds == 1 { "" } else { "s" })?;
        for series in &self.series {
            write_series(text, series, self, color)?;
        }
        if let Some(memory) = self.memory {
            writeln!(text, "  memory: {memory}")?;
        }
        if let Some(quiet) = self.quiet_windows {
            write_quiet_windows(text, quiet)?;
        }
        self.write_advice(text)?;
        writeln!(text, "  {}", whose(self.attribution, self.process.is_some()))?;
        if let Some(containment) = &self.containment {
            writeln!(text, "  containment: {containment}")?;
        }
        if let Some(told) = &self.on_leak {
            writeln!(text, "  on_leak: {told}")?;
        }
        if let Some(top) = &self.top_sites {
            write!(text, "{top}")?;
        }
        if let Some(left) = &self.left {
            writeln!(text, "what the rounds have left:")?;
            for line in left.render(color).lines() {
                writeln!(text, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl HuntReport {
    /// What the list of what is left does not say.
    fn write_advice(&self, text: &mut String) -> fmt::Result {
        let leaked = self.series.iter().filter(|series| series.verdict == Verdict::Leaked);
        // What counts have left is memory, too, and what holds that is what is to be mended.
        let is_count = |gauge: Gauge| gauge.is_count() && gauge != Gauge::Records;
        let has_items = leaked.clone().any(|series| is_count(series.gauge));
        let mut told = Vec::new();
        for series in leaked {
            let Some(advice) = advice::for_gauge(series.gauge) else { continue };
            let is_by_the_way = has_items && matches!(series.gauge, Gauge::Heap | Gauge::Resident);
            if !is_by_the_way && !told.contains(&advice) {
                writeln!(text, "  to do: {advice}")?;
                told.push(advice);
            }
        }
        Ok(())
    }
}

impl fmt::Display for HuntReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Color::Never))
    }
}

/// What could not be seen, too: a window that is too short says nothing.
fn write_quiet_windows(text: &mut String, quiet: QuietWindows) -> fmt::Result {
    write!(text, "  activity: in quiet windows of {} after each round", duration(quiet.each))?;
    if let Some(last) = quiet.last {
        write!(text, " and {} after the last", duration(last))?;
    }
    let longest = quiet.last.map_or(quiet.each, |last| last.max(quiet.each));
    writeln!(text, "; what works more seldom than every {} takes a longer `quiet_window`", duration(longest))
}

fn write_series(text: &mut String, series: &Series, report: &HuntReport, color: Color) -> fmt::Result {
    let values: Vec<f64> = series.values.iter().map(|value| *value as f64).collect();
    let (first, last) = (series.values.first().copied(), series.values.last().copied());
    write!(text, "  {:<12}{} ", series.gauge.to_string(), sparkline(&values))?;
    if let (Some(first), Some(last)) = (first, last) {
        // A unit of several words stands once.
        let first = if series.gauge == Gauge::Forks { first.to_string() } else { amount(series.gauge, first as f64) };
        write!(text, "{first} to {}", amount(series.gauge, last as f64))?;
    }
    match series.verdict {
        Verdict::Clean => {
            if let Some(resolution) = series.resolution {
                write!(text, ", clean: more than {} a round would have been seen", bytes(resolution.max(1.0) as u64))?;
            }
        }
        // Where something has leaked the advice is to mend that.
        Verdict::Inconclusive if report.verdict.is_failure() => write!(text, ", inconclusive")?,
        Verdict::Inconclusive => {
            let needed = series.rounds_needed.map_or_else(
                || "at least 18 rounds: `.rounds(7..=18)`".to_owned(),
                |rounds| format!("about {rounds} rounds: `.rounds(7..={rounds})`"),
            );
            write!(text, ", {}: it would take {needed}", painted("inconclusive", series.verdict, color))?;
        }
        verdict => {
            write!(text, ", {}: ", painted(&verdict.to_string(), verdict, color))?;
            write_growth(text, series, report.sessions_per_round)?;
        }
    }
    writeln!(text)
}

/// How much, of what, and how sure that is.
fn write_growth(text: &mut String, series: &Series, sessions_per_round: Option<usize>) -> fmt::Result {
    let growth = |per: f64| match series.gauge.is_count() {
        true => format!("{per:.2}"),
        false => amount(series.gauge, per.max(0.0)),
    };
    match (series.confidence, sessions_per_round) {
        (Some(Confidence::More(more)), _) => {
            return write!(
                text,
                "while nothing runs {} more in every window than before the first round",
                amount(series.gauge, more)
            );
        }
        (Some(Confidence::MoreInLong { more, window }), _) => {
            return write!(
                text,
                "while nothing runs {} more in every window of {} after the last round than before the first",
                amount(series.gauge, more),
                duration(window)
            );
        }
        (_, Some(sessions)) => write!(text, "{} a session", growth(series.per_round / sessions.max(1) as f64))?,
        (_, None) => write!(text, "{} a round", growth(series.per_round))?,
    }
    match series.confidence {
        Some(Confidence::Grew(share)) if sessions_per_round.is_some() => {
            write!(text, " (grew in {:.0} % of the rounds)", share * 100.0)
        }
        Some(Confidence::ByChance(p)) if sessions_per_round.is_some() => {
            write!(text, " (by chance: p = {p:.1e})")
        }
        _ => Ok(()),
    }
}

fn amount(gauge: Gauge, value: f64) -> String {
    match gauge {
        Gauge::Heap | Gauge::Resident => bytes(value as u64),
        Gauge::Processor => duration(std::time::Duration::from_micros(value as u64)),
        Gauge::Forks => format!("{value:.0} page faults of children"),
        _ => format!("{value}"),
    }
}
