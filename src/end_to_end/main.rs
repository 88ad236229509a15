//! The shipped binary from outside: processes, sockets, files, signals. Nothing here looks inside.
//!
//! Every wait is for an event and is bounded; every process is ended by its own handle.
//!
//! The modules say `cfg(test)` although all of this is test code: by it the lints know that helpers
//! may unwrap too.

#[cfg(test)]
mod acquirer_faults;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod admin_changes;
#[cfg(test)]
mod bank_roles;
#[cfg(test)]
mod banks;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod client;
#[cfg(test)]
mod data_directory;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod door;
#[cfg(test)]
mod fault_table;
#[cfg(test)]
mod find;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod issuer_faults;
#[cfg(test)]
mod issuer_totals;
#[cfg(test)]
mod layouts;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod links;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod message;
#[cfg(test)]
mod one_bank;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod parked;
#[cfg(test)]
mod process;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod proxy_script;
#[cfg(test)]
mod reconciliation;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod repeats;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wallet;
