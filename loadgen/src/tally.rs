//! Counts, sums and latencies of a run, kept by its one thread.

use crate::clock::SECOND_NS;
use crate::mix::Kind;
use crate::progress::Snapshot;
use crate::report::IssuerTotals;
use crate::transaction::Transaction;
use crate::verify::Problem;
use hdrhistogram::Histogram;
use tapswitch_protocol::ResponseCode;

/// Longest latency that is told apart; longer ones count as this.
const LATENCY_NS_MAX: u64 = 3_600 * SECOND_NS;
/// Problems of which the first are kept as text.
const SAMPLES_MAX: usize = 8;
/// DE 39 is two of 0-9, A-Z and a-z.
const CODE_CHARACTERS: usize = 62;

/// A histogram of nanoseconds up to an hour with this many significant digits.
#[expect(clippy::expect_used, reason = "the bounds are constants that a test tries")]
pub(crate) fn latency_histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, digits).expect("the bounds are valid")
}

/// How many responses had which code.
pub(crate) struct CodeCounts(Vec<u64>);

impl CodeCounts {
    fn new() -> Self {
        Self(vec![0; CODE_CHARACTERS * CODE_CHARACTERS])
    }

    #[inline]
    fn count(&mut self, code: ResponseCode) {
        let place = |byte: u8| match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            _ => byte.wrapping_sub(b'a').wrapping_add(36),
        };
        let [a, b] = *code.bytes();
        let index = usize::from(place(a)) * CODE_CHARACTERS + usize::from(place(b));
        if let Some(count) = self.0.get_mut(index) {
            *count += 1;
        }
    }

    /// Codes that came, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ResponseCode, u64)> {
        let character = |place: usize| match u8::try_from(place).unwrap_or(0) {
            digit @ 0..=9 => b'0' + digit,
            upper @ 10..=35 => b'A' + (upper - 10),
            lower => b'a' + (lower - 36),
        };
        let came = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        came.map(move |(index, &count)| {
            let code = [character(index / CODE_CHARACTERS), character(index % CODE_CHARACTERS)];
            (ResponseCode::new(code), count)
        })
    }
}

/// Latencies of the last second, in two halves of which the older is thrown away.
struct Recent {
    halves: [Histogram<u64>; 2],
    merged: Histogram<u64>,
    /// How long each half took.
    half_ns: [u64; 2],
}

/// All that is counted.
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) approved: u64,
    pub(crate) declined: u64,
    pub(crate) unanswered: u64,
    pub(crate) wrong: u64,
    pub(crate) codes: CodeCounts,
    pub(crate) issuers: Vec<IssuerTotals>,
    pub(crate) problems: [u64; Problem::ALL.len()],
    pub(crate) samples: Vec<String>,
    /// From the intended time of sending.
    pub(crate) response: Histogram<u64>,
    /// From the write.
    pub(crate) service: Histogram<u64>,
    /// Of the responses whose code says that the switch had no room, from the intended time.
    pub(crate) shed: Histogram<u64>,
    /// Of all others.
    pub(crate) served: Histogram<u64>,
    /// From the intended time of sending to the write.
    pub(crate) lag: Histogram<u64>,
    recent: Recent,
}

impl Tally {
    /// Nothing counted yet, for these issuers.
    pub(crate) fn new(issuers: &[String]) -> Self {
        let issuer = |name: &String| IssuerTotals { issuer: name.clone(), ..Default::default() };
        Self {
            sent: 0,
            answered: 0,
            approved: 0,
            declined: 0,
            unanswered: 0,
            wrong: 0,
            codes: CodeCounts::new(),
            issuers: issuers.iter().map(issuer).collect(),
            problems: [0; Problem::ALL.len()],
            samples: Vec::with_capacity(SAMPLES_MAX),
            response: latency_histogram(3),
            service: latency_histogram(3),
            shed: latency_histogram(3),
            served: latency_histogram(3),
            lag: latency_histogram(3),
            recent: Recent {
                halves: [latency_histogram(2), latency_histogram(2)],
                merged: latency_histogram(2),
                half_ns: [0; 2],
            },
        }
    }

    /// Counts the latencies of one response.
    #[inline]
    pub(crate) fn latency(&mut self, response_ns: u64, service_ns: u64) {
        self.response.saturating_record(response_ns);
        self.service.saturating_record(service_ns);
        let [_, newer] = &mut self.recent.halves;
        newer.saturating_record(response_ns);
    }

    /// Counts a response as served, or as shed.
    #[inline]
    pub(crate) fn served_or_shed(&mut self, response_ns: u64, is_shed: bool) {
        let histogram = if is_shed { &mut self.shed } else { &mut self.served };
        histogram.saturating_record(response_ns);
    }

    /// Counts the outcome of a transaction; `approved_minor` is what is approved of it.
    #[inline]
    pub(crate) fn outcome(&mut self, asked: &Transaction, code: ResponseCode, approved_minor: u64) {
        self.codes.count(code);
        let is_approval = code.is_approval();
        if is_approval {
            self.approved += 1;
        } else {
            self.declined += 1;
        }
        if asked.kind.is_network_management() {
            return;
        }
        let Some(issuer) = self.issuers.get_mut(usize::from(asked.card.issuer)) else { return };
        if !is_approval {
            issuer.declined_count += 1;
            return;
        }
        let (count, minor) = match asked.kind {
            Kind::Tap | Kind::TapWithPin | Kind::Transit | Kind::QrCode => {
                (&mut issuer.approved_count, &mut issuer.approved_minor)
            }
            Kind::PreAuthorization => (&mut issuer.held_count, &mut issuer.held_minor),
            Kind::Reversal => (&mut issuer.reversed_count, &mut issuer.reversed_minor),
            Kind::Refund => (&mut issuer.refunded_count, &mut issuer.refunded_minor),
            Kind::Balance | Kind::EchoTest | Kind::SignOn => {
                issuer.inquired_count += 1;
                return;
            }
        };
        *count += 1;
        // What a partial approval names is up to the other side.
        *minor = minor.saturating_add(approved_minor);
    }

    /// Counts a problem; `describe` is asked for the first few.
    pub(crate) fn problem(&mut self, problem: Problem, describe: impl FnOnce() -> String) {
        self.problems[problem as usize] += 1;
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(format!("{}: {}", problem.name(), describe()));
        }
    }

    /// Ends a half second that took `half_ns`, and says how the last two went.
    pub(crate) fn publish(&mut self, half_ns: u64, snapshot: &mut Snapshot) {
        let Recent { halves: [older, newer], merged, half_ns: [older_ns, newer_ns] } =
            &mut self.recent;
        *newer_ns = half_ns;
        merged.reset();
        // Same bounds, so nothing can be out of range.
        let added = merged.add(&*older).and(merged.add(&*newer));
        debug_assert!(added.is_ok(), "histograms of the same bounds add up");
        let took_ns = *older_ns + *newer_ns;
        snapshot.answered_per_s = merged.len() as f64 * SECOND_NS as f64 / took_ns.max(1) as f64;
        snapshot.p50_us = microseconds(merged, 0.5);
        snapshot.p99_us = microseconds(merged, 0.99);
        snapshot.p999_us = microseconds(merged, 0.999);
        std::mem::swap(older, newer);
        *older_ns = *newer_ns;
        newer.reset();
        snapshot.sent = self.sent;
        snapshot.answered = self.answered;
        snapshot.approved = self.approved;
        snapshot.declined = self.declined;
        snapshot.unanswered = self.unanswered;
        snapshot.wrong = self.wrong;
        snapshot.by_code.clear();
        snapshot.by_code.extend(self.codes.iter());
        snapshot.per_issuer.clone_from(&self.issuers);
    }
}

/// A quantile in microseconds, to a tenth.
pub(crate) fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    (histogram.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_apart() {
        let mut counts = CodeCounts::new();
        for code in [b"00", b"Z9", b"00", b"zz", b"A0"] {
            counts.count(ResponseCode::new(*code));
        }
        let seen: Vec<_> = counts.iter().map(|(code, count)| (code.to_string(), count)).collect();
        let expected = [("00", 2), ("A0", 1), ("Z9", 1), ("zz", 1)];
        assert!(seen.iter().map(|(code, count)| (code.as_str(), *count)).eq(expected));
    }

    #[test]
    fn a_snapshot_is_of_the_last_two_halves() {
        let mut tally = Tally::new(&[]);
        let mut snapshot = Snapshot::default();
        let half = |tally: &mut Tally, latency_us: u64, snapshot: &mut Snapshot| {
            for _ in 0..100 {
                tally.latency(latency_us * 1_000, 1);
            }
            tally.publish(SECOND_NS / 2, snapshot);
        };
        half(&mut tally, 10, &mut snapshot);
        assert_eq!(snapshot.answered_per_s, 200.0);
        half(&mut tally, 20, &mut snapshot);
        assert_eq!(snapshot.answered_per_s, 200.0);
        assert!((snapshot.p50_us - 10.0).abs() < 0.2, "{}", snapshot.p50_us);
        half(&mut tally, 30, &mut snapshot);
        assert!((snapshot.p50_us - 20.0).abs() < 0.2, "{}", snapshot.p50_us);
        assert_eq!(tally.response.len(), 300);
    }

    #[test]
    fn an_hour_and_more_can_be_counted() {
        let mut tally = Tally::new(&[]);
        tally.latency(u64::MAX, 0);
        assert_eq!(tally.response.len(), 1);
    }
}
