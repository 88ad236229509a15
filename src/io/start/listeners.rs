//! The listening sockets of a switch: opened at its start, or inherited from the process before, which
//! listened at them all the while. Whoever has them open keeps those that connect waiting, not refused.
//!
//! Not here: accepting (`listener`), how they get from one process to another (`hand_over`).

use super::{StartError, no_thread};
use crate::config::Config;
use crate::io::listener::{Guest, listen};
use crate::shard::{AcquirerId, IssuerId};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A socket that listens, and for whom.
#[derive(Debug)]
pub struct Listening {
    /// As in `acquirer.cups`, `issuer.CMBC`.
    pub name: String,
    /// The address that the configuration names: of port 0 the kernel chose another.
    pub configured: SocketAddr,
    /// The socket.
    pub socket: TcpListener,
}

impl Listening {
    /// Whether it is what a configuration asks for. One of port 0 is known by its name only.
    fn fits(&self, name: &str, address: SocketAddr) -> bool {
        self.configured == address && (address.port() != 0 || self.name == name)
    }
}

/// All of a switch: acquirers' first, in their order, then issuers'.
#[derive(Clone, Debug)]
pub struct Listeners(Arc<[(Guest, Listening)]>);

impl Listeners {
    /// Takes from `inherited` what this configuration asks for, and opens what is not there. What is
    /// left in `inherited` afterwards nobody asks for any more.
    ///
    /// # Errors
    /// An address is taken or not this machine's.
    pub fn open(config: &Config, inherited: &mut Vec<Listening>) -> Result<Self, StartError> {
        let mut take = |name: String, configured| {
            let found = inherited.iter().position(|it| it.fits(&name, configured));
            let socket = match found {
                Some(place) => inherited.swap_remove(place).socket,
                None => listen(configured)?,
            };
            Ok(Listening { name, configured, socket })
        };
        let mut all = Vec::new();
        // At most ACQUIRERS_MAX and ISSUERS_MAX, which fit a byte.
        for (id, acquirer) in (0..).map(AcquirerId).zip(&config.acquirers) {
            let (address, acquirer) = (acquirer.listen, &acquirer.name);
            let listening = take(format!("acquirer.{acquirer}"), address);
            let acquirer = acquirer.clone();
            let failed = |source| StartError::Listen { address, acquirer, source };
            all.push((Guest::Acquirer(id), listening.map_err(failed)?));
        }
        for (id, issuer) in (0..).map(IssuerId).zip(&config.issuers) {
            let Some(address) = issuer.link.as_ref().and_then(|link| link.listen) else { continue };
            let issuer = issuer.name.clone();
            let listening = take(format!("issuer.{issuer}"), address);
            let failed = |source| StartError::ListenBank { address, issuer, source };
            all.push((Guest::Issuer(id), listening.map_err(failed)?));
        }
        Ok(Self(all.into()))
    }

    /// Each, to be handed over.
    pub fn each(&self) -> impl ExactSizeIterator<Item = &Listening> {
        self.0.iter().map(|(_, listening)| listening)
    }

    pub(crate) fn guests(&self) -> impl Iterator<Item = (Guest, &TcpListener)> {
        self.0.iter().map(|(guest, listening)| (*guest, &listening.socket))
    }

    /// Where the acquirers' are, by acquirer.
    pub(super) fn of_acquirers(&self) -> Result<Vec<SocketAddr>, StartError> {
        let of_acquirers = self.guests().filter(|(guest, _)| matches!(guest, Guest::Acquirer(_)));
        let addresses = of_acquirers.map(|(_, listener)| listener.local_addr());
        addresses.collect::<io::Result<_>>().map_err(|source| no_thread("the acceptor", source))
    }

    #[cfg(test)]
    pub(crate) fn of(guest: Guest, socket: TcpListener) -> Self {
        let configured = socket.local_addr().unwrap();
        Self([(guest, Listening { name: String::new(), configured, socket })].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn config() -> Config {
        let mut config = Config::embedded();
        for acquirer in &mut config.acquirers {
            acquirer.listen = "127.0.0.1:0".parse().unwrap();
        }
        config
    }

    fn handed_over(listeners: &Listeners) -> Vec<Listening> {
        let copy = |it: &Listening| Listening {
            name: it.name.clone(),
            configured: it.configured,
            socket: it.socket.try_clone().unwrap(),
        };
        listeners.each().map(copy).collect()
    }

    #[test]
    fn what_was_inherited_is_taken_and_the_rest_is_opened() {
        let config = config();
        let before = Listeners::open(&config, &mut Vec::new()).unwrap();
        let addresses = before.of_acquirers().unwrap();
        let mut inherited = handed_over(&before);
        drop(before);
        // Those that knock meanwhile wait.
        let clients: Vec<_> = addresses.iter().map(|it| TcpStream::connect(it).unwrap()).collect();
        let lost = inherited.remove(0);
        let now = Listeners::open(&config, &mut inherited).unwrap();
        assert!(inherited.is_empty());
        let taken = now.of_acquirers().unwrap();
        assert_eq!(taken[1..], addresses[1..]);
        assert_ne!(taken[0], addresses[0], "another one: the first is still open here");
        for (_, socket) in now.guests().skip(1) {
            socket.accept().unwrap();
        }
        drop((lost, clients));
    }

    #[test]
    fn a_fixed_address_is_known_whatever_it_is_for_and_what_nobody_wants_is_left() {
        let mut config = config();
        let before = Listeners::open(&config, &mut Vec::new()).unwrap();
        let mut inherited = handed_over(&before);
        let fixed = before.of_acquirers().unwrap()[0];
        inherited[0].configured = fixed;
        config.acquirers.truncate(1);
        config.acquirers[0].listen = fixed;
        config.acquirers[0].name = "renamed".to_owned();
        let now = Listeners::open(&config, &mut inherited).unwrap();
        assert_eq!(now.of_acquirers().unwrap(), [fixed]);
        assert_eq!(now.each().next().unwrap().name, "acquirer.renamed");
        assert_eq!(inherited.len(), before.each().len() - 1);
    }
}
