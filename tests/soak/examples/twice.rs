fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    for seed in a[1]..a[1] + a[2] {
        let (x, y) = (burst_soak::run(seed, a[0]), burst_soak::run(seed, a[0]));
        if let Some(i) = (0..x.log.len().max(y.log.len())).find(|i| x.log.get(*i) != y.log.get(*i)) {
            println!("seed {seed}: line {i}");
            for k in i.saturating_sub(6)..i + 2 {
                println!("  A {:?}\n  B {:?}", x.log.get(k), y.log.get(k));
            }
        }
    }
}
