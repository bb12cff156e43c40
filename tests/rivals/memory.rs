//! What a key of each state block costs, and what ten million of them cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use agentward::base::Timestamp;
use agentward::decide::Decide;

use crate::{ours, rule_set, sets};

/// The system's allocator with a count of what is in use.
pub struct Counted;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator; the count touches nothing else.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

pub fn blocks() {
    const FEW: usize = 50_000;
    let many: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000_000);
    println!("\nmemory of state blocks, the default bound of 65,536 keys a rule");
    println!("  {:14} {:>14} {:>22} {:>10} {:>12}", "", "bytes a key", "MiB under {many} keys".replace("{many}", &many.to_string()), "kept", "given up");
    for (name, body) in sets::BLOCKS {
        let set = rule_set(&format!("[[rule]]\nid = \"b\"\ntitle = \"t\"\nseverity = \"low\"\n{body}\n"));
        let mut decide = Decide::default();
        let mut alerts = Vec::new();
        let mut now = 1_790_000_000_000_000_000_u64;
        let before = in_use();
        let mut per_key = 0;
        for key in 0..many {
            let event = ours(&sets::block_event(name, key));
            now += 1000;
            decide.push_event(&set, &event, Timestamp(now), &mut alerts);
            alerts.clear();
            drop(event);
            if key + 1 == FEW {
                // An object is remembered twice: whose it is, and to whom it was shown.
                let kept = decide.counts().next().map_or(0, |(_, counts)| counts.keys);
                per_key = (in_use() - before) / kept.max(1);
            }
        }
        let (_, counts) = decide.counts().next().expect("one rule");
        let held = (in_use() - before) as f64 / f64::from(1 << 20);
        println!("  {name:14} {per_key:>14} {held:>22.1} {:>10} {:>12}", counts.keys, counts.evicted);
    }
}
