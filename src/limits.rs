//! Every bound of the system, each with its sentence, related by compile-time assertions.

/// Shards of one process; a shard is a thread pinned to a core.
pub const SHARDS_MAX: usize = 64;
/// Acquirer profiles (each with its listener).
pub const ACQUIRERS_MAX: usize = 64;
/// Issuers.
pub const ISSUERS_MAX: usize = 64;
/// Links of one shard to one issuer.
pub const LINKS_MAX: usize = 16;
/// Connections of one shard.
pub const CONNECTIONS_MAX: usize = 8_192;

/// Longest frame taken, length prefix included: the largest legal message observed is 600 bytes.
pub const FRAME_BYTES_MAX: usize = 2_048;
/// What a new connection reads into.
pub const READ_BYTES_IDLE: usize = 4_096;
/// What a connection reads into after two full reads.
pub const READ_BYTES_BUSY: usize = 65_536;
/// Bytes of answers that may wait for a slow reader before its connection stops being read.
pub const OUTPUT_BYTES_MAX: usize = 262_144;

/// Bytes of messages that may wait for a slow issuer; more are refused.
pub const LINK_OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Messages staged before the first of them is decided.
pub const STAGED_MAX: usize = 32;
/// Actions that one input can cause: an answer, a forward, a reversal, one more for a resend, and a
/// question for a larger part of a limit.
pub const ACTIONS_PER_INPUT_MAX: usize = 5;
/// Actions an outbox holds.
pub const OUTBOX_ACTIONS_MAX: usize = 256;
/// Bytes an outbox holds.
pub const OUTBOX_BYTES_MAX: usize = OUTBOX_ACTIONS_MAX * FRAME_BYTES_MAX;

/// Records that one input can cause: an answer, a voided original, a message owed, its numbers, and
/// the same again for a message that this one lets go; and of each of at most four counters of entities
/// a lease, its row, and the row of what is counted, with what is held for two requests.
pub const RECORDS_PER_INPUT_MAX: usize = 9 + 3 * SCOPE_COUNTERS_MAX + 2;
/// Bytes of records an outbox holds.
pub const OUTBOX_RECORD_BYTES: usize = 262_144;

/// Open pre-authorizations of one shard.
pub const PREAUTHORIZATIONS_MAX: usize = 1 << 24;
/// Requests waiting for their issuer on one shard.
pub const PENDING_MAX: usize = 262_144;
/// System trace audit numbers: six digits, 0 is not used.
pub const STANS: u32 = 1_000_000;

/// Bytes of a card key.
pub const CARD_KEY_BYTES: usize = 16;
/// Eight-byte words of a card's velocity line, its key of two words among them: half a cache line,
/// one, or two. The smallest that holds all counters is taken.
pub const VELOCITY_LINE_WORDS: [usize; 3] = [4, 8, 16];
/// Words of the largest line that counters share: a window takes one, a rolling one of k parts k + 1,
/// and every two different shapes of windows one more for the numbers of their newest parts.
pub const VELOCITY_WORDS_MAX: usize = 16 - CARD_KEY_BYTES / 8;
/// Counters of one card: their set is a bit mask of a byte, of which one bit says something else.
pub const VELOCITY_COUNTERS_MAX: usize = 7;
/// Limits of all counters together: with the counters they are the bits of one word.
pub const VELOCITY_LIMITS_MAX: usize = 48;
/// Largest count that can be limited: counts are 16 bits.
pub const VELOCITY_COUNT_MAX: u64 = 60_000;
/// Largest amount that can be limited: sums are 48 bits.
pub const VELOCITY_AMOUNT_MINOR_MAX: u64 = (1 << 47) - 1;
/// The same where a PIN sets the counter back: it keeps two sums of 28 bits.
pub const VELOCITY_RESETTABLE_AMOUNT_MINOR_MAX: u64 = (1 << 27) - 1;
/// Digits of a PAN that conditions of counters and limits look at.
pub const VELOCITY_IIN_DIGITS: usize = 9;
/// Longest window that is not a calendar's.
pub const VELOCITY_WINDOW_S_MAX: u32 = 31 * 86_400;
/// Shortest part of a window: numbers of parts are 32 bits, which at one a second last until the
/// year 2106.
pub const VELOCITY_SUB_WINDOW_MS_MIN: u64 = 1_000;
/// Merchant category codes are four digits.
pub const MCC_MAX: u16 = 9_999;
/// Velocity lines of one shard: 64 GiB of them, at 64 bytes each.
pub const VELOCITY_LINES_MAX: usize = 1 << 30;
/// Neighbouring lines that make a group; a card's line is in one of the card's two groups.
pub const VELOCITY_GROUP_LINES: usize = 4;
/// Lines read at most to find a card or to learn that it has none: those of both groups.
pub const VELOCITY_PROBE_MAX: usize = 2 * VELOCITY_GROUP_LINES;
/// Groups looked through at most for a line to free, by moving lines to their cards' other groups,
/// when both groups of a new card are full. With 32 the table takes cards up to 95 % of its lines.
pub const VELOCITY_SEARCH_GROUPS_MAX: usize = 32;

/// Token requestors that a configuration names.
pub const REQUESTORS_MAX: usize = 64;
/// Counters of terminals, merchants, acquirers and tokens: their set is a bit mask of a byte.
pub const SCOPE_COUNTERS_MAX: usize = 4;
/// Largest count of transactions of a terminal, merchant, acquirer or token that can be limited.
pub const SCOPE_COUNT_MAX: u64 = 1 << 31;
/// Terminals, merchants, acquirers or tokens that one counter of theirs holds in one shard.
pub const ENTITIES_MAX: usize = 1 << 22;
/// Transactions of one shard at most whose amounts can be given back to such counters.
pub const ENTITY_TRANSACTIONS_MAX: usize = 1 << 24;
/// Rows of such a counter looked at at most for one that counts nothing any more, for a new one.
pub const ENTITIES_SWEPT_AT_ONCE: usize = 1_024;
/// Questions for a larger part of a limit that one shard has under way at another.
pub const LEASE_ASKS_MAX: usize = 64;

/// Lines looked at after each batch to learn how many still count something.
pub const VELOCITY_LOOKED_AT_ONCE: usize = 64;
/// One card of so many has a second book, with which its line is compared while the switch serves.
pub const VELOCITY_AUDITED_ONE_OF: u64 = 1_024;
/// Cards of one shard at most that have one: 560 bytes each at most, 70 MiB.
pub const VELOCITY_AUDITED_MAX: usize = 1 << 17;
/// Cards of one shard for which there is room at least, unless it has fewer lines.
pub const VELOCITY_AUDITED_MIN: usize = 256;
/// Batches after which one of them is looked at although nothing changed it.
pub const VELOCITY_BATCHES_PER_AUDIT: u32 = 64;

/// Requests that one shard may have under way on another: each holds a credit until it is answered.
pub const MESH_CREDITS: usize = 1_024;
/// Of these, credits that new requests leave for advices, reversals and notices.
pub const MESH_CREDITS_KEPT_BACK: usize = 128;
/// Credits kept back for answers that found their connection closed and must return.
pub const MESH_CREDITS_RESERVED: usize = 256;
/// Approvals that may wait on a shard for a connection of their acquirer; further ones are reversed at
/// once.
pub const UNDELIVERED_MAX: usize = 256;
/// Partial reversals that a shard keeps until their originals in flight are answered.
pub const EARLY_REDUCTIONS_MAX: usize = 256;
/// Bytes of a message on it: a frame, and before a request when it came, and what is known of its token.
pub const MESH_BYTES_MAX: usize = FRAME_BYTES_MAX + 8 + crate::shard::wallet::TRANSLATED_BYTES;
/// Slots of a shard-to-shard ring: one way carries this shard's requests and answers to the other's.
pub const MESH_SLOTS: usize = 2 * (MESH_CREDITS + MESH_CREDITS_RESERVED + LEASE_ASKS_MAX);
/// Slots of the ring between a shard and its banks, each way.
pub const BANK_RING_SLOTS: usize = 4_096;
/// Settlement dates of which totals are kept: the current one and those before it.
pub const SETTLEMENT_DATES: usize = 4;

/// Reversals and advices owed that one shard holds.
pub const SAF_MAX: usize = 65_536;
/// Of these, messages that their issuers refuse, kept for an operator. When there are more, further
/// ones are sent on and on.
pub const PARKED_MAX: usize = 4_096;
/// Messages a second that an issuer gets at most after an outage.
pub const SAF_RATE_MAX: u32 = 1_000_000;
/// Duplicate memory of one shard at most: places in it are 31 bits, in units of eight bytes.
pub const DUPLICATES_BYTES_MAX: usize = 1 << 33;
/// Originals of one shard at least, in bytes: a few.
pub const ORIGINALS_BYTES_MIN: usize = 1 << 10;
/// Bytes that a remembered answer adds to its request at most.
pub const REMEMBERED_BYTES_MAX: usize = 160;

/// Smallest journal segment, and what all are multiples of.
pub const JOURNAL_SEGMENT_BYTES_MIN: u64 = 8 << 20;
/// Largest journal segment: what recovery looks through behind a torn tail.
pub const JOURNAL_SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Bytes of records that a batch of reads can cause: a request's are a few times its own.
pub const READ_RECORD_BYTES: usize = 3 << 20;
/// Bytes of records that may wait for the disk at least: two groups of what one batch can cause.
pub const JOURNAL_UNDURABLE_BYTES_MIN: usize = 8 << 20;

const _: () = assert!(VELOCITY_COUNTERS_MAX < u8::BITS as usize);
const _: () = assert!(SCOPE_COUNTERS_MAX < u8::BITS as usize);
const _: () = assert!(LEASE_ASKS_MAX < u16::MAX as usize);
const _: () = assert!(VELOCITY_COUNTERS_MAX + 1 + VELOCITY_LIMITS_MAX <= u64::BITS as usize);
const _: () =
    assert!(VELOCITY_COUNTERS_MAX + VELOCITY_COUNTERS_MAX.div_ceil(2) <= VELOCITY_WORDS_MAX);
/// Instalments of a simulated bank's loan: its books have so many due months.
pub const INSTALMENTS_MAX: usize = 36;
/// Entries for the outcome log that wait in one shard; further ones are dropped and counted.
pub const OUTCOMES_MAX: usize = 8_192;
/// Bytes of an outcome log at least: eight files of a few thousand entries.
pub const OUTCOME_LOG_BYTES_MIN: u64 = 1 << 20;
/// Bytes of an outcome log at most: 1 TiB.
pub const OUTCOME_LOG_BYTES_MAX: u64 = 1 << 40;
/// Files of an outcome log; the oldest is deleted for a new one.
pub const OUTCOME_LOG_FILES: u64 = 8;
/// Blocks of entries on their way from one shard to the outcome log's thread, and bytes of each.
pub const OUTCOME_BLOCKS: usize = 64;
/// See [`OUTCOME_BLOCKS`].
pub const OUTCOME_BLOCK_BYTES: usize = 1 << 16;

const _: () = assert!(VELOCITY_AUDITED_MAX < u32::MAX as usize && VELOCITY_BATCHES_PER_AUDIT > 0);
const _: () = assert!(UNDELIVERED_MAX <= 1 << u8::BITS);
const _: () = assert!(PARKED_MAX <= SAF_MAX / 4);
const _: () = assert!(VELOCITY_COUNT_MAX < u16::MAX as u64);
const _: () = assert!(VELOCITY_RESETTABLE_AMOUNT_MINOR_MAX < 1 << 28);
const _: () = assert!(VELOCITY_AMOUNT_MINOR_MAX < 1 << 48);
const _: () = assert!(VELOCITY_GROUP_LINES.is_power_of_two());
const _: () = assert!(REMEMBERED_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(DUPLICATES_BYTES_MAX / 8 < 1 << 31 && PENDING_MAX < 1 << 31);
const _: () = assert!(JOURNAL_UNDURABLE_BYTES_MIN / 2 > READ_RECORD_BYTES + OUTBOX_RECORD_BYTES);
const _: () = assert!(OUTBOX_RECORD_BYTES >= 2 * RECORDS_PER_INPUT_MAX * 2_560);
const _: () = assert!(STAGED_MAX * ACTIONS_PER_INPUT_MAX <= OUTBOX_ACTIONS_MAX);
const _: () = assert!(READ_BYTES_IDLE >= FRAME_BYTES_MAX && READ_BYTES_BUSY >= READ_BYTES_IDLE);
const _: () = assert!(OUTPUT_BYTES_MAX >= 2 * OUTBOX_BYTES_MAX / ACTIONS_PER_INPUT_MAX);
const _: () = assert!(JOURNAL_UNDURABLE_BYTES_MIN as u64 <= JOURNAL_SEGMENT_BYTES_MIN);
const _: () = assert!(MESH_SLOTS >= 2 * (MESH_CREDITS + MESH_CREDITS_RESERVED + LEASE_ASKS_MAX));
