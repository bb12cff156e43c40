//! Streams that want our memory or time, each beside a hundred neighbours: the bound that stops it is named, resident memory grows by
//! at most 16 MiB, nothing panics, and each exchange of each neighbour is whole.
//!
//! Attacks are made piece by piece, so that what grows is ours. One test, because memory is the process's.

mod http1;
mod http2;
mod other;
mod world;

use world::{Attack, run};

/// Growth of resident memory that is allowed to each.
const GROWTH: u64 = 16 << 20;

/// Set in the process that makes the attacks. There the allocator gives back at once what is freed, or memory kept from one attack
/// would hide the growth of the next.
const INSIDE: &str = "AGENTWARD_ATTACKS";

#[test]
fn attacks_are_named_bounded_and_do_not_harm_their_neighbours() {
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().expect("Linux");
        let done = std::process::Command::new(own)
            .args(["--exact", "attacks_are_named_bounded_and_do_not_harm_their_neighbours", "--nocapture"])
            .envs([(INSIDE, "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")])
            .status();
        return assert!(done.is_ok_and(|status| status.success()), "see above");
    }
    let attacks: Vec<Attack> = [http1::attacks(), http2::attacks(), other::attacks()].into_iter().flatten().collect();
    assert!(attacks.len() >= 60, "only {} attacks", attacks.len());
    let (mut faults, mut most) = (Vec::new(), 0);
    for attack in attacks {
        let name = attack.name;
        let told = run(attack);
        most = most.max(told.growth);
        eprintln!("{name}: {:.1} MiB sent, {:.1} MiB grown, {}", mib(told.sent), mib(told.growth), told.limit);
        if !told.named {
            faults.push(format!("{name}: {} is not named, but {:?}", told.limit, told.said));
        }
        if told.growth > GROWTH {
            faults.push(format!("{name}: grew by {:.1} MiB", mib(told.growth)));
        }
        if told.panics > 0 {
            faults.push(format!("{name}: {} panics", told.panics));
        }
        if told.whole != told.made {
            faults.push(format!("{name}: {} of {} exchanges of neighbours are whole", told.whole, told.made));
        }
    }
    eprintln!("largest growth {:.1} MiB", mib(most));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
