//! What a person reads of a hunt: each series as a line with a sparkline.

use crate::leak::{Gauge, HuntReport, Series, Verdict, sparkline};
use crate::report::console::Color;
use crate::report::text::{bytes, painted};
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
        let verdict = painted(&self.verdict.to_string(), self.verdict, color);
        writeln!(text, ": {verdict} after {} round{}", self.rounds, if self.rounds == 1 { "" } else { "s" })?;
        for series in &self.series {
            write_series(text, series, self.verdict, color)?;
        }
        writeln!(text, "  {}", self.attribution)?;
        if let Some(containment) = &self.containment {
            writeln!(text, "  containment: {containment}")?;
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

impl fmt::Display for HuntReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Color::Never))
    }
}

fn write_series(text: &mut String, series: &Series, worst: Verdict, color: Color) -> fmt::Result {
    let values: Vec<f64> = series.values.iter().map(|value| *value as f64).collect();
    let is_bytes = matches!(series.gauge, Gauge::Heap | Gauge::Resident);
    let amount = |value: u64| if is_bytes { bytes(value) } else { value.to_string() };
    let (first, last) = (series.values.first().copied(), series.values.last().copied());
    write!(text, "  {:<12}{} ", series.gauge.to_string(), sparkline(&values))?;
    if let (Some(first), Some(last)) = (first, last) {
        write!(text, "{} to {}", amount(first), amount(last))?;
    }
    let growth = if is_bytes { bytes(series.per_round.max(0.0) as u64) } else { format!("{:.2}", series.per_round) };
    match series.verdict {
        Verdict::Clean => {
            if let Some(resolution) = series.resolution {
                write!(text, ", clean: more than {} a round would have been seen", bytes(resolution.max(1.0) as u64))?;
            }
        }
        // Where something has leaked the advice is to mend that.
        Verdict::Inconclusive if worst.is_failure() => write!(text, ", inconclusive")?,
        Verdict::Inconclusive => {
            let needed = series.rounds_needed.map_or_else(
                || "at least 18 rounds: `.rounds(7..=18)`".to_owned(),
                |rounds| format!("about {rounds} rounds: `.rounds(7..={rounds})`"),
            );
            write!(text, ", {}: it would take {needed}", painted("inconclusive", series.verdict, color))?;
        }
        verdict => write!(text, ", {}: {growth} a round", painted(&verdict.to_string(), verdict, color))?,
    }
    writeln!(text)
}
