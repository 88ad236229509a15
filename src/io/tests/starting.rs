//! Which engine, which core, which port: what a start decides and refuses.

use super::echo::{Echo, EchoRules};
use super::rig::{Setup, be2, message};
use crate::config::{Config, EngineChoice};
use crate::io::engine::choose;
use crate::io::{Engine, EngineReason, StartError, Switch, allowed_cores};
use std::io;
use std::sync::Arc;
use tapswitch_protocol::Framing;

fn refused() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(1))
}

#[test]
fn the_plain_engine_stands_in_where_io_uring_is_refused() {
    let report = choose(EngineChoice::Auto, refused).unwrap();
    assert_eq!(report.engine, Engine::Tokio);
    assert!(matches!(report.reason, EngineReason::Refused(_)));
    assert_eq!(
        report.to_string(),
        "tokio (epoll), because io_uring is refused: Operation not permitted (os error 1)"
    );
    let report = choose(EngineChoice::Auto, || Ok(())).unwrap();
    assert_eq!(
        (report.engine, report.to_string()),
        (Engine::TokioUring, "tokio-uring (io_uring)".into())
    );
    assert!(choose(EngineChoice::TokioUring, refused).is_err());
    let report = choose(EngineChoice::Tokio, || panic!("not asked for")).unwrap();
    assert_eq!(report.engine, Engine::Tokio);
}

#[test]
fn the_engine_asked_for_is_the_one_that_runs() {
    for (choice, engine) in
        [(EngineChoice::Tokio, Engine::Tokio), (EngineChoice::TokioUring, Engine::TokioUring)]
    {
        let rig = Setup::on(choice).start();
        assert_eq!(rig.switch.engine().engine, engine);
        let mut client = rig.client();
        client.send(&be2(&message(b'e', 1, 60)));
        assert_eq!(client.answer().unwrap(), message(b'e', 1, 60));
        drop(client);
        rig.stop();
    }
}

fn start(config: Config, setup: &Setup) -> Result<Switch<Echo>, StartError> {
    let rules = EchoRules {
        shards: 1,
        framings: vec![Framing::Cups, Framing::Be2],
        delay_ms: 0,
        draining: Arc::default(),
        released: Arc::default(),
    };
    Switch::start(Arc::new(config), setup.timeouts, move |id| Echo::new(id, rules.clone()))
}

#[test]
fn a_busy_port_is_named_in_one_sentence() {
    let setup = Setup::on(EngineChoice::Auto);
    let rig = setup.start();
    let mut config = setup.config();
    config.acquirers[1].listen = rig.be2();
    let error = start(config, &setup).err().expect("the port is busy");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {} for acquirer `iso87-ascii`: the port is busy, another process \
             (or another run of this one) listens there",
            rig.be2()
        )
    );
    rig.stop();
}

#[test]
fn a_core_that_this_process_may_not_use_is_refused_and_nothing_is_left_running() {
    let mut setup = Setup::on(EngineChoice::Auto);
    setup.cores = vec![1_023];
    let config = setup.config();
    let error = start(config, &setup).err().expect("there is no such core");
    let StartError::Core { core, allowed, .. } = &error else { panic!("{error}") };
    assert_eq!((*core, allowed), (1_023, &allowed_cores().unwrap()));
}

#[test]
fn a_decider_that_cannot_be_made_is_a_refused_start() {
    let setup = Setup::on(EngineChoice::Auto);
    let started = Switch::<Echo>::start(Arc::new(setup.config()), setup.timeouts, |_| {
        panic!("no memory for this shard (a test's own panic)")
    });
    assert!(matches!(started.err(), Some(StartError::Ended)));
}
