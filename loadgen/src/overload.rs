//! What a switch is good for when it is asked for more than it can carry: the same load at multiples
//! of a rate, one after the other. A good switch goes on serving as much as before, refuses the rest
//! at once, and leaves nothing unanswered.
//!
//! What was refused for want of room has one of the plan's shed codes; all else is goodput. Not here:
//! running a load (see `run`).

use crate::plan::{LoadPlan, Rate};
use crate::report::{LoadReport, thousands};
use crate::tally::microseconds;
use serde_json::{Value, json};
use std::fmt;

/// Steps of an overload, and what is demanded of them.
#[derive(Clone, Debug)]
pub struct OverloadPlan {
    /// What to ask; its rate is of no meaning.
    pub load: LoadPlan,
    /// Requests a second that the target should carry.
    pub capacity_per_s: f64,
    /// Multiples of it, in the order in which they are asked for.
    pub factors: Vec<f64>,
    /// Goodput of every step, in percent of the [peak](OverloadReport::peak_per_s) that it is held to.
    pub goodput_percent_min: f64,
    /// 99 % of the refusals come within this, in milliseconds; `None`: whenever.
    pub shed_p99_ms_max: Option<f64>,
}

impl OverloadPlan {
    /// The plans of the steps.
    pub fn steps(&self) -> impl Iterator<Item = (f64, LoadPlan)> {
        self.factors.iter().map(|&factor| {
            let rate = Rate::PerSecond(factor * self.capacity_per_s);
            (factor, LoadPlan { rate, ..self.load.clone() })
        })
    }
}

/// What the steps came to.
#[derive(Clone, Debug)]
pub struct OverloadReport {
    plan: OverloadPlan,
    steps: Vec<(f64, LoadReport)>,
}

impl OverloadReport {
    /// Of the reports of all steps.
    #[must_use]
    pub fn new(plan: OverloadPlan, steps: Vec<(f64, LoadReport)>) -> Self {
        Self { plan, steps }
    }

    /// What a step is held to: the best goodput at any load up to its own, and at least what the target
    /// should carry of what it is asked. More load may bring more answers that cost nothing; a step
    /// with less is not blamed for them.
    #[must_use]
    pub fn peak_per_s(&self, factor: f64) -> f64 {
        let capacity = factor.min(1.0) * self.plan.capacity_per_s;
        let up_to = self.steps.iter().filter(|(of, _)| *of <= factor);
        up_to.map(|(_, report)| report.goodput_per_s()).fold(capacity, f64::max)
    }

    /// What was demanded and not kept, each in a sentence.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (factor, report) in &self.steps {
            let percent = self.percent(*factor, report);
            let demanded = self.plan.goodput_percent_min;
            if percent < demanded {
                failures.push(format!(
                    "at {factor} times the capacity the goodput is {percent:.1} % of the peak, not \
                     {demanded:.1} %"
                ));
            }
            let shed_ms = microseconds(&report.shed, 0.99) / 1e3;
            if let Some(most) = self.plan.shed_p99_ms_max.filter(|&most| shed_ms > most) {
                failures.push(format!(
                    "at {factor} times the capacity 99 % of the refusals take {shed_ms:.1} ms, not \
                     {most:.1} ms"
                ));
            }
            let left = report.unanswered + report.wrong + report.connections_lost;
            if left > 0 {
                failures.push(format!(
                    "at {factor} times the capacity {left} requests or connections went wrong"
                ));
            }
        }
        failures
    }

    fn percent(&self, factor: f64, report: &LoadReport) -> f64 {
        100.0 * report.goodput_per_s() / self.peak_per_s(factor).max(f64::MIN_POSITIVE)
    }

    /// Writes a table and the verdict.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "times      asked/s  goodput/s  % of peak       shed   served p50 · p99 us     shed p50 · \
             p99 us  unanswered  unsent"
        )?;
        for (factor, report) in &self.steps {
            let whole = |rate: f64| thousands(rate.round() as u64);
            let two = |of| (microseconds(of, 0.5).round(), microseconds(of, 0.99).round());
            let ((served, served_99), (shed, shed_99)) = (two(&report.served), two(&report.shed));
            writeln!(
                out,
                "{factor:<5} {:>12} {:>10} {:>10.1} {:>10}   {served:>10} · {served_99:>9}   \
                 {shed:>10} · {shed_99:>9} {:>9} {:>7}",
                whole(factor * self.plan.capacity_per_s),
                whole(report.goodput_per_s()),
                self.percent(*factor, report),
                thousands(report.shed.len()),
                thousands(report.unanswered),
                thousands(report.unsent),
            )?;
        }
        let failures = self.failures();
        match failures.is_empty() {
            true => writeln!(out, "PASS      the goodput holds, nothing is unanswered"),
            false => failures.iter().try_for_each(|what| writeln!(out, "FAIL      {what}")),
        }
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let step = |(factor, report): &(f64, LoadReport)| {
            json!({
                "factor": factor,
                "goodput_per_s": report.goodput_per_s().round(),
                "goodput_percent": (10.0 * self.percent(*factor, report)).round() / 10.0,
                "shed": report.shed.len(),
                "shed_p50_us": microseconds(&report.shed, 0.5),
                "shed_p99_us": microseconds(&report.shed, 0.99),
                "served_p50_us": microseconds(&report.served, 0.5),
                "served_p99_us": microseconds(&report.served, 0.99),
                "load": report.to_json(),
            })
        };
        json!({
            "capacity_per_s": self.plan.capacity_per_s,
            "peak_goodput_per_s": self.peak_per_s(f64::INFINITY).round(),
            "failures": self.failures(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LoadDialect;
    use crate::report::Sending;
    use crate::tally::Tally;
    use std::net::SocketAddr;

    fn plan() -> OverloadPlan {
        let target = SocketAddr::from(([127, 0, 0, 1], 8583));
        OverloadPlan {
            load: LoadPlan::new(target, LoadDialect::Cups),
            capacity_per_s: 100.0,
            factors: vec![1.0, 2.0, 10.0],
            goodput_percent_min: 90.0,
            shed_p99_ms_max: Some(5.0),
        }
    }

    /// In one second so much was served, and so much refused after so many milliseconds.
    fn step(factor: f64, served: u64, (shed, shed_ms): (u64, u64)) -> (f64, LoadReport) {
        let mut tally = Tally::new(&[]);
        (0..served).for_each(|_| tally.served_or_shed(20_000_000, false));
        (0..shed).for_each(|_| tally.served_or_shed(shed_ms * 1_000_000, true));
        let sending =
            Sending { sending_s: 1.0, answered_while_sending: 0, unsent: 0, connections_lost: 0 };
        (factor, LoadReport::new(&plan().load, &sending, tally))
    }

    #[test]
    fn steps_ask_for_multiples() {
        let rates: Vec<_> = plan().steps().map(|(factor, load)| (factor, load.rate)).collect();
        assert_eq!(rates[2], (10.0, Rate::PerSecond(1_000.0)));
        assert_eq!(rates.len(), 3);
    }

    #[test]
    fn goodput_that_holds_passes() {
        let steps = vec![step(1.0, 99, (0, 0)), step(2.0, 100, (100, 1)), step(10.0, 91, (909, 4))];
        let report = OverloadReport::new(plan(), steps);
        assert_eq!(report.failures(), Vec::<String>::new());
        let mut text = String::new();
        report.write_text(&mut text).unwrap();
        assert!(text.contains("PASS") && text.lines().count() == 5, "{text}");
        assert_eq!(report.to_json()["steps"][2]["shed"], 909);
    }

    #[test]
    fn goodput_that_falls_and_slow_refusals_are_named() {
        let steps = vec![step(1.0, 100, (0, 0)), step(2.0, 89, (111, 1)), step(10.0, 95, (900, 9))];
        let failures = OverloadReport::new(plan(), steps).failures();
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert!(failures[0].contains("at 2 times") && failures[0].contains("89.0 %"));
        assert!(failures[1].contains("at 10 times") && failures[1].contains("refusals take 9"));
    }

    /// What more load brings by itself is no fault of the steps before it.
    #[test]
    fn a_step_is_not_held_to_what_more_load_brings() {
        let steps = vec![step(1.0, 95, (5, 1)), step(2.0, 103, (97, 1)), step(10.0, 125, (875, 1))];
        assert_eq!(OverloadReport::new(plan(), steps).failures(), Vec::<String>::new());
    }

    /// All steps are equally bad: each carries less than the target should.
    #[test]
    fn steps_are_held_to_the_capacity() {
        let steps = vec![step(1.0, 80, (20, 1)), step(2.0, 85, (115, 1))];
        let failures = OverloadReport::new(plan(), steps).failures();
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert!(failures[0].contains("at 1 times") && failures[0].contains("80.0 %"));
    }

    /// Half the capacity cannot be good for nine tenths of it.
    #[test]
    fn a_step_below_the_capacity_is_held_to_what_it_asks() {
        let steps = vec![step(0.5, 50, (0, 0)), step(1.0, 100, (0, 0))];
        assert_eq!(OverloadReport::new(plan(), steps).failures(), Vec::<String>::new());
    }
}
