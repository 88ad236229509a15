//! What a run came to: for people as text, for machines as JSON.

use crate::plan::{Arrivals, LoadPlan, Rate};
use crate::tally::{Tally, microseconds};
use crate::verify::Problem;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt;
use tapswitch_protocol::ResponseCode;

/// Outcomes and money of one issuer. Amounts are in minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerTotals {
    /// Its name.
    pub issuer: String,
    /// Approved purchases.
    pub approved_count: u64,
    /// Their sum.
    pub approved_minor: u64,
    /// Approved pre-authorizations.
    pub held_count: u64,
    /// Their sum.
    pub held_minor: u64,
    /// Reversals of purchases that were acknowledged.
    pub reversed_count: u64,
    /// Their sum.
    pub reversed_minor: u64,
    /// Refunds that were acknowledged.
    pub refunded_count: u64,
    /// Their sum.
    pub refunded_minor: u64,
    /// Answered balance inquiries.
    pub inquired_count: u64,
    /// Declines of anything.
    pub declined_count: u64,
}

impl IssuerTotals {
    /// Responses about this issuer's cards.
    #[must_use]
    pub const fn answered_count(&self) -> u64 {
        self.approved_count
            + self.held_count
            + self.reversed_count
            + self.refunded_count
            + self.inquired_count
            + self.declined_count
    }

    /// By how much the issuer's accounts together should have gone down: purchases and holds, less
    /// what was reversed and refunded.
    #[must_use]
    pub fn net_debit_minor(&self) -> i128 {
        i128::from(self.approved_minor) + i128::from(self.held_minor)
            - i128::from(self.reversed_minor)
            - i128::from(self.refunded_minor)
    }
}

/// How fast the switch's own part was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SwitchLatency {
    /// Median of the time spent in the switch.
    pub p50_us: f64,
    /// 99 % were not slower.
    pub p99_us: f64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// The plan that was run.
    pub plan: LoadPlan,
    /// Seconds in which requests were sent.
    pub sending_s: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests that had their response.
    pub answered: u64,
    /// Of these, answered while requests were still being sent.
    pub answered_while_sending: u64,
    /// Responses with an approving code.
    pub approved: u64,
    /// Responses with any other code.
    pub declined: u64,
    /// Requests without a response: deadline passed, or connection lost.
    pub unanswered: u64,
    /// Responses with something wrong, duplicates and orphans among them.
    pub wrong: u64,
    /// Requests of the schedule that the full window kept from being sent before the end.
    pub unsent: u64,
    /// Connections that the other side closed or broke.
    pub connections_lost: u64,
    /// Responses by DE 39, ascending.
    pub by_code: Vec<(ResponseCode, u64)>,
    /// Problems by kind, those that came.
    pub problems: Vec<(Problem, u64)>,
    /// The first few problems as text; PANs are masked.
    pub samples: Vec<String>,
    /// Outcomes and money by issuer.
    pub per_issuer: Vec<IssuerTotals>,
    /// Nanoseconds from the intended time of sending to the response.
    pub response: Histogram<u64>,
    /// Nanoseconds from the write to the response.
    pub service: Histogram<u64>,
    /// Nanoseconds from the intended time to responses whose code is one of the plan's shed codes.
    pub shed: Histogram<u64>,
    /// The same of all others.
    pub served: Histogram<u64>,
    /// Nanoseconds from the intended time of sending to the write.
    pub lag: Histogram<u64>,
    /// Responses that a bank gave, not the switch: filled in by a caller that owns the switch.
    pub bank_answered: Option<u64>,
    /// Filled in by a caller that owns the switch.
    pub switch_latency: Option<SwitchLatency>,
}

/// How a run's sending went.
pub(crate) struct Sending {
    pub(crate) sending_s: f64,
    pub(crate) answered_while_sending: u64,
    pub(crate) unsent: u64,
    pub(crate) connections_lost: u64,
}

impl LoadReport {
    pub(crate) fn new(plan: &LoadPlan, sending: &Sending, tally: Tally) -> Self {
        let problems = Problem::ALL.into_iter().zip(tally.problems);
        Self {
            plan: plan.clone(),
            sending_s: sending.sending_s,
            sent: tally.sent,
            answered: tally.answered,
            answered_while_sending: sending.answered_while_sending,
            approved: tally.approved,
            declined: tally.declined,
            unanswered: tally.unanswered,
            wrong: tally.wrong,
            unsent: sending.unsent,
            connections_lost: sending.connections_lost,
            by_code: tally.codes.iter().collect(),
            problems: problems.filter(|(_, count)| *count > 0).collect(),
            samples: tally.samples,
            per_issuer: tally.issuers,
            response: tally.response,
            service: tally.service,
            shed: tally.shed,
            served: tally.served,
            lag: tally.lag,
            bank_answered: None,
            switch_latency: None,
        }
    }

    /// Whether every request had its one right response.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unanswered == 0 && self.wrong == 0 && self.connections_lost == 0
    }

    /// Requests a second that the plan asks for; `None` for a closed loop.
    #[must_use]
    pub fn asked_per_s(&self) -> Option<f64> {
        match self.plan.rate {
            Rate::PerSecond(rate) => Some(rate),
            Rate::Max => None,
        }
    }

    /// Responses a second while requests were sent.
    #[must_use]
    pub fn achieved_per_s(&self) -> f64 {
        if self.sending_s > 0.0 { self.answered_while_sending as f64 / self.sending_s } else { 0.0 }
    }

    /// Responses a second that are no refusals for want of room: what the load was good for.
    #[must_use]
    pub fn goodput_per_s(&self) -> f64 {
        if self.sending_s > 0.0 { self.served.len() as f64 / self.sending_s } else { 0.0 }
    }

    /// `open` or `closed`.
    #[must_use]
    pub fn loop_kind(&self) -> &'static str {
        match self.plan.rate {
            Rate::PerSecond(_) => "open",
            Rate::Max => "closed",
        }
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let us = |histogram, quantile| microseconds(histogram, quantile);
        let by_code: serde_json::Map<String, Value> =
            self.by_code.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
        let problems: serde_json::Map<String, Value> = self
            .problems
            .iter()
            .map(|(problem, count)| (problem.name().to_owned(), json!(count)))
            .collect();
        json!({
            "asked_per_s": self.asked_per_s(),
            "achieved_per_s": round(self.achieved_per_s()),
            "loop": self.loop_kind(),
            "sent": self.sent,
            "answered": self.answered,
            "approved": self.approved,
            "declined": self.declined,
            "unanswered": self.unanswered,
            "wrong": self.wrong,
            "unsent": self.unsent,
            "connections_lost": self.connections_lost,
            "bank_answered": self.bank_answered,
            "p50_us": us(&self.response, 0.5),
            "p99_us": us(&self.response, 0.99),
            "p999_us": us(&self.response, 0.999),
            "max_us": us(&self.response, 1.0),
            "service_p50_us": us(&self.service, 0.5),
            "service_p99_us": us(&self.service, 0.99),
            "service_p999_us": us(&self.service, 0.999),
            "send_lag_p99_us": us(&self.lag, 0.99),
            "switch_p50_us": self.switch_latency.map(|latency| latency.p50_us),
            "switch_p99_us": self.switch_latency.map(|latency| latency.p99_us),
            "by_code": by_code,
            "problems": problems,
            "problem_samples": self.samples,
            "per_issuer": self.per_issuer.iter().map(issuer_json).collect::<Vec<_>>(),
            "plan": plan_json(&self.plan, self.sending_s),
        })
    }

    /// Writes the report as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let asked = self.asked_per_s().map_or("as fast as can be".to_owned(), |rate| {
            format!("{} a second", thousands(rate.round() as u64))
        });
        let achieved = thousands(self.achieved_per_s().round() as u64);
        writeln!(out, "asked     {asked}, for {:.1} s", self.sending_s)?;
        writeln!(out, "achieved  {achieved} a second")?;
        writeln!(
            out,
            "requests  sent {}, answered {}, unanswered {}, wrong {}",
            thousands(self.sent),
            thousands(self.answered),
            thousands(self.unanswered),
            thousands(self.wrong)
        )?;
        if let Some(banks) = self.bank_answered {
            let percent = 100.0 * banks as f64 / self.answered.max(1) as f64;
            writeln!(out, "banks     answered {} ({percent:.1} %)", thousands(banks))?;
        }
        if self.unsent > 0 {
            let unsent = thousands(self.unsent);
            writeln!(out, "unsent    {unsent}: the target did not keep up with the schedule")?;
        }
        if self.connections_lost > 0 {
            writeln!(out, "lost      {} connections", self.connections_lost)?;
        }
        self.write_latencies(out)?;
        self.write_codes(out)?;
        for (problem, count) in &self.problems {
            writeln!(out, "problem   {:<20} {:>12}", problem.name(), thousands(*count))?;
        }
        for sample in &self.samples {
            writeln!(out, "          {sample}")?;
        }
        Ok(())
    }

    fn write_latencies(&self, out: &mut impl fmt::Write) -> fmt::Result {
        if self.plan.rate == Rate::Max {
            writeln!(out, "closed loop: not response time")?;
        }
        writeln!(out, "latency, us        p50          p99        p99.9          max")?;
        let mut row = |name: &str, histogram: &Histogram<u64>| {
            let [p50, p99, p999, max] =
                [0.5, 0.99, 0.999, 1.0].map(|quantile| microseconds(histogram, quantile));
            writeln!(out, "{name:<9} {p50:>12.1} {p99:>12.1} {p999:>12.1} {max:>12.1}")
        };
        match self.plan.rate {
            Rate::PerSecond(_) => row("response", &self.response)?,
            Rate::Max => {}
        }
        row("service", &self.service)?;
        if let Some(SwitchLatency { p50_us, p99_us }) = self.switch_latency {
            writeln!(out, "switch    {p50_us:>12.1} {p99_us:>12.1}")?;
        }
        Ok(())
    }

    fn write_codes(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(out, "code              answers        %")?;
        for (code, count) in &self.by_code {
            let percent = 100.0 * *count as f64 / self.answered.max(1) as f64;
            let answers = thousands(*count);
            let meaning = code.meaning();
            writeln!(out, "{code:<9} {answers:>15} {percent:>8.3}  {meaning}")?;
        }
        Ok(())
    }
}

/// To a tenth.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Digits in groups of three.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn issuer_json(totals: &IssuerTotals) -> Value {
    json!({
        "issuer": totals.issuer,
        "approved_count": totals.approved_count,
        "approved_minor": totals.approved_minor,
        "held_count": totals.held_count,
        "held_minor": totals.held_minor,
        "reversed_count": totals.reversed_count,
        "reversed_minor": totals.reversed_minor,
        "refunded_count": totals.refunded_count,
        "refunded_minor": totals.refunded_minor,
        "inquired_count": totals.inquired_count,
        "declined_count": totals.declined_count,
    })
}

fn plan_json(plan: &LoadPlan, sending_s: f64) -> Value {
    json!({
        "target": plan.target.to_string(),
        "dialect": plan.dialect.name(),
        "connections": plan.connections,
        "in_flight": plan.in_flight,
        "arrivals": match plan.arrivals {
            Arrivals::Constant => "constant",
            Arrivals::Poisson => "poisson",
        },
        "seconds": plan.seconds,
        "sending_s": round(sending_s),
        "seed": plan.seed,
        "cards": plan.cards,
        "zipf_s": plan.zipf_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LoadDialect;
    use std::net::SocketAddr;

    fn report(rate: Rate) -> LoadReport {
        let target = SocketAddr::from(([127, 0, 0, 1], 8583));
        let plan = LoadPlan { rate, ..LoadPlan::new(target, LoadDialect::Cups) };
        let mut tally = Tally::new(&["ICBC".to_owned()]);
        tally.sent = 3;
        tally.answered = 2;
        tally.approved = 1;
        tally.declined = 1;
        tally.unanswered = 1;
        tally.latency(2_000_000, 1_000_000);
        tally.problem(Problem::Orphan, || "0210".to_owned());
        let sending =
            Sending { sending_s: 2.0, answered_while_sending: 2, unsent: 4, connections_lost: 0 };
        LoadReport::new(&plan, &sending, tally)
    }

    #[test]
    fn the_object_has_what_others_read() {
        let open = report(Rate::PerSecond(1_000.0)).to_json();
        assert_eq!(open["asked_per_s"], 1_000.0);
        assert_eq!(open["achieved_per_s"], 1.0);
        assert_eq!(open["loop"], "open");
        assert_eq!(open["unanswered"], 1);
        let median = open["p50_us"].as_f64().unwrap();
        assert!((median - 2_000.0).abs() < 2.0, "{median}");
        for key in ["sent", "answered", "approved", "declined", "wrong", "p99_us", "p999_us"] {
            assert!(open[key].is_number(), "{key}");
        }
        for key in ["bank_answered", "switch_p50_us", "switch_p99_us"] {
            assert!(open[key].is_null(), "{key} is not known here");
        }
        let closed = report(Rate::Max).to_json();
        assert!(closed["asked_per_s"].is_null());
        assert_eq!(closed["loop"], "closed");
    }

    #[test]
    fn the_text_says_what_kind_of_loop_and_what_went_wrong() {
        let text = |rate| {
            let mut text = String::new();
            report(rate).write_text(&mut text).unwrap();
            text
        };
        let open = text(Rate::PerSecond(1_000.0));
        assert!(open.contains("asked     1,000 a second"), "{open}");
        assert!(open.contains("unanswered 1"), "{open}");
        assert!(open.contains("orphan: 0210"), "{open}");
        assert!(open.contains("response"), "{open}");
        let closed = text(Rate::Max);
        assert!(closed.contains("closed loop: not response time"), "{closed}");
        assert!(!closed.contains("response  "), "{closed}");
    }

    #[test]
    fn digits_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }
}
