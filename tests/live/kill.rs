//! The daemon dies under load: nobody notices, nothing stays, and its successor sees who was already there.

use agent_tests::compare::{self, End};
use agent_tests::load::Load;
use agent_tests::peers::World;
use agent_tests::program::{self, Daemon};
use agent_tests::wait_for;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn killed_under_load_it_harms_nobody_and_starts_again() {
    let world = World::start("kill");
    let mut clients: Vec<Load> = (0..3).map(|_| Load::start(&world)).collect();
    for client in &mut clients {
        client.make(1, "small");
        assert_eq!(client.probed_bytes(), 0, "before");
    }
    let first = world.path("first.awr");
    let daemon = Daemon::start(&["record", "-o", first.to_str().expect("plain name"), "--scope", "all"]);
    let probed = wait_for("probes in the running clients", || Some(clients[0].probed_bytes()).filter(|count| *count > 0));
    for client in &mut clients {
        client.order(3000, "small");
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    daemon.kill();
    for client in &mut clients {
        let totals = client.done();
        assert_eq!((&totals["requests"], &totals["errors"]), (&3001.into(), &0.into()), "{totals}");
    }
    for client in &clients {
        wait_for("the probed bytes to be restored", || (client.probed_bytes() == 0).then_some(()));
    }
    eprintln!("killed under load: 9000 requests, 0 errors, {probed} probed bytes restored");

    let before = world.ledger().len();
    let second = world.path("second.awr");
    program::record(&second, &["--scope", "all"], || {
        for client in &mut clients {
            client.make(20, "new");
        }
    });
    let ledger = world.ledger().split_off(before);
    assert_eq!(ledger.len(), 60);
    let exchanges = program::replay(&second, "exchanges", &["--reveal"]);
    compare::check(&ledger, &exchanges, End::Client);
    compare::check(&ledger, &exchanges, End::Server(world.standin()));
    for client in &clients {
        wait_for("the probed bytes to be restored", || (client.probed_bytes() == 0).then_some(()));
    }
    eprintln!("started again: 60 exchanges of processes that were already running, seen at both ends");
}
