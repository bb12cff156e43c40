//! `cargo xtask bench expressions`: random expressions against the `cel` crate. `--count N` (1,000,000), `--seed N`.

#[path = "../policy/oracle.rs"]
mod oracle;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: u64| value(name).map_or(default, |text| text.parse().expect("a number"));
    let started = std::time::Instant::now();
    let tally = oracle::compare(number("--seed", 1), number("--count", 1_000_000));
    for difference in tally.unexplained.iter().take(20) {
        println!("{difference}");
    }
    println!("same           {}", tally.same);
    println!("  held         {}", tally.held);
    println!("  not known    {}", tally.absent);
    println!("refused before {} (no event can make a comparison of these types hold)", tally.refused);
    println!(
        "explained      {} (whole and broken numbers together; has() of a deep path; contains() of a list)",
        tally.explained
    );
    println!("unexplained    {} (must be 0)", tally.unexplained.len());
    println!("in {} s", started.elapsed().as_secs());
    assert!(tally.unexplained.is_empty());
}
