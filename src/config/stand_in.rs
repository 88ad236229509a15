//! Stand-in as the configuration says it: when the switch may approve by itself, because the issuer
//! cannot be reached, and how it tells so.
//!
//! Not here: how much. That are limits of the rule's name, which judge approvals by stand-in only.

/// One rule. What it means, and how much at once, is in the limit of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandInRule {
    /// Its name, and that of its limit.
    pub name: String,
    /// Whether also while the issuer has as many requests as it may have.
    pub window_full: bool,
    /// Whether also for a request that was forwarded and not answered, after its reversal.
    pub after_time_out: bool,
    /// Why, as the issuer is told.
    pub reasons: StandInReasons,
    /// The data element of the advice whose first four characters are the reason.
    pub reason_field: u8,
    /// The data element of the answer that says that the switch stood in, and what it says.
    pub mark: Option<(u8, String)>,
}

/// Why the switch stood in, as issuers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandInReasons {
    /// No link, or no room.
    pub unreachable: [u8; 4],
    /// It has signed off.
    pub signed_off: [u8; 4],
    /// It does not answer.
    pub time_out: [u8; 4],
}

impl Default for StandInReasons {
    fn default() -> Self {
        Self { unreachable: *b"9011", signed_off: *b"9002", time_out: *b"9020" }
    }
}
