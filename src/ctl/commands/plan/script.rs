//! What a job script and a command line ask of sbatch, as far as it decides about a launch.

use burst_plan::{Geometry, Seconds};
use std::collections::BTreeMap;

/// Options by long name, the last one given.
pub type Given = BTreeMap<String, String>;

/// Short and long names of options that take a value; all others of sbatch are of no concern here.
const VALUED: [(char, &str); 28] = [
    ('N', "nodes"),
    ('n', "ntasks"),
    ('c', "cpus-per-task"),
    (' ', "ntasks-per-node"),
    (' ', "mem"),
    (' ', "mem-per-cpu"),
    ('t', "time"),
    ('p', "partition"),
    (' ', "gres"),
    ('G', "gpus"),
    (' ', "gpus-per-node"),
    (' ', "gpus-per-socket"),
    (' ', "gpus-per-task"),
    ('C', "constraint"),
    ('a', "array"),
    ('A', "account"),
    ('q', "qos"),
    ('J', "job-name"),
    ('b', "begin"),
    ('d', "dependency"),
    (' ', "comment"),
    (' ', "burst-plan"),
    (' ', "burst-types"),
    (' ', "burst-market"),
    (' ', "burst-efa"),
    (' ', "burst-max-cost"),
    (' ', "burst-wait"),
    (' ', "burst-else"),
];

/// Options whose value is optional, and then follows an equals sign.
const OPTIONAL: [&str; 2] = ["burst", "exclusive"];

/// The `#SBATCH` lines of a script: up to the first line that is neither empty nor a comment, as sbatch reads them.
pub fn sbatch_lines(script: &str) -> Given {
    let mut given = Given::new();
    for line in script.lines() {
        if let Some(rest) = line.strip_prefix("#SBATCH") {
            words_into(&split(rest), &mut given);
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            break;
        }
    }
    given
}

/// Words of one line; quotes hold them together, a word that begins with `#` ends the line.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn words_into(words: &[String], given: &mut Given) {
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            if OPTIONAL.contains(&name) {
                given.insert(name.to_owned(), value.unwrap_or_default());
            } else if VALUED.iter().any(|(_, l)| *l == name)
                && let Some(value) = value.or_else(|| words.next().cloned())
            {
                given.insert(name.to_owned(), value);
            }
        } else if let Some(short) = word.strip_prefix('-') {
            let mut letters = short.chars();
            let known = letters.next().and_then(|c| VALUED.iter().find(|(s, _)| *s == c && c != ' '));
            if let Some((_, name)) = known {
                let rest = letters.as_str();
                let value = if rest.is_empty() { words.next().cloned() } else { Some(rest.to_owned()) };
                given.extend(value.map(|v| ((*name).to_owned(), v.trim_start_matches('=').to_owned())));
            }
        }
    }
}

/// The geometry that sbatch would send.
///
/// # Errors
/// The option and what it takes.
pub fn geometry(given: &Given) -> Result<Geometry, String> {
    let text = |key: &str| given.get(key).cloned();
    let number = |key: &str| {
        text(key)
            .map(|v| count(&v).ok_or_else(|| format!("--{key}={v}: a positive number is needed")))
            .transpose()
    };
    let memory = |key: &str| {
        text(key)
            .map(|v| mebibytes(&v).ok_or_else(|| format!("--{key}={v}: write for example 16G or 4000M")))
            .transpose()
    };
    let mut g = Geometry {
        ntasks: number("ntasks")?,
        cpus_per_task: number("cpus-per-task")?,
        ntasks_per_node: number("ntasks-per-node")?,
        mem_per_node: memory("mem")?.filter(|m| *m > 0),
        mem_per_cpu: memory("mem-per-cpu")?.filter(|m| *m > 0),
        exclusive: given.contains_key("exclusive"),
        features: text("constraint"),
        array: text("array"),
        partition: text("partition").unwrap_or_default(),
        account: text("account").unwrap_or_default(),
        qos: text("qos").unwrap_or_default(),
        name: text("job-name").unwrap_or_default(),
        dependency: text("dependency"),
        batch: true,
        ..Geometry::default()
    };
    if let Some(v) = text("nodes") {
        let (min, max) = v.split_once('-').unwrap_or((&v, &v));
        match (count(min), count(max)) {
            (Some(min), Some(max)) if min <= max => (g.min_nodes, g.max_nodes) = (Some(min), Some(max)),
            _ => return Err(format!("--nodes={v}: write a number of nodes, or two as in 2-4")),
        }
    }
    if let Some(v) = text("time") {
        match slurm_time(&v) {
            Some(Some(limit)) => g.time_limit = Some(limit),
            Some(None) => g.unlimited = true,
            None => return Err(format!("--time={v}: write minutes, h:m:s, d-h, d-h:m or d-h:m:s")),
        }
    }
    if let Some(n) = g.ntasks {
        g.min_cpus = Some(n.saturating_mul(g.cpus_per_task.unwrap_or(1)));
    }
    let gpus = |key: &str| text(key).map(|v| format!("gres:gpu:{v}"));
    let per_node: Vec<String> =
        gpus("gpus-per-node").into_iter().chain(text("gres").map(|v| prefixed(&v))).collect();
    g.set_tres(gpus("gpus"), Some(per_node.join(",")), gpus("gpus-per-socket"), gpus("gpus-per-task"));
    Ok(g)
}

fn prefixed(list: &str) -> String {
    let parts: Vec<String> = list
        .split(',')
        .map(|p| if p.starts_with("gres:") { p.to_owned() } else { format!("gres:{p}") })
        .collect();
    parts.join(",")
}

fn count(text: &str) -> Option<u32> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024),
        None => (text, 1),
    };
    digits.parse::<u32>().ok()?.checked_mul(unit).filter(|n| *n > 0)
}

/// Slurm's memory text in MiB: a number, K, M (default), G or T.
fn mebibytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(at)?;
    let n: u64 = digits.parse().ok()?;
    match unit.to_ascii_uppercase().trim_end_matches('B') {
        "K" => Some(n.div_ceil(1024)),
        "" | "M" => Some(n),
        "G" => n.checked_mul(1024),
        "T" => n.checked_mul(1024 * 1024),
        _ => None,
    }
}

/// Slurm's time limit: `Some(None)` is UNLIMITED.
pub fn slurm_time(text: &str) -> Option<Option<Seconds>> {
    if ["UNLIMITED", "INFINITE", "-1"].iter().any(|w| w.eq_ignore_ascii_case(text)) {
        return Some(None);
    }
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let (h, m, s) = match (days, parts.as_slice()) {
        (None, [m]) => (0, *m, 0),
        (None, [m, s]) => (0, *m, *s),
        (Some(_), [h]) => (*h, 0, 0),
        (Some(_), [h, m]) => (*h, *m, 0),
        (_, [h, m, s]) => (*h, *m, *s),
        _ => return None,
    };
    let total = days
        .unwrap_or(0)
        .checked_mul(86_400)?
        .checked_add(h.checked_mul(3600)?)?
        .checked_add(m.checked_mul(60)?)?;
    // 0 is Slurm's way of asking for no limit.
    Some(Some(total.checked_add(s)?).filter(|t| *t > 0).map(Seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_sbatch_reads_them() {
        let given = sbatch_lines(
            "#!/bin/sh\n#SBATCH -N4 --ntasks 768 -J 'my job'  # comment\n\n# a remark\n#SBATCH --mail-user me -p efa\n\
             #SBATCH --exclusive --burst --unknown=3\nsrun x\n#SBATCH -N 99\n",
        );
        let pairs: Vec<String> = given.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            pairs,
            ["burst=", "exclusive=", "job-name=my job", "nodes=4", "ntasks=768", "partition=efa"]
        );
    }

    #[test]
    fn the_later_of_two_wins() {
        assert_eq!(sbatch_lines("#SBATCH -t 5\n#SBATCH --time=6").get("time").map(String::as_str), Some("6"));
    }

    #[test]
    fn geometry_of_an_mpi_job() {
        let given = sbatch_lines("#SBATCH -N 2-4 -n 384 -c 2 --mem=16G -t 1-02:00 --gres=gpu:8 -p efa");
        let g = geometry(&given).unwrap();
        assert_eq!(
            (g.min_nodes, g.max_nodes, g.ntasks, g.min_cpus),
            (Some(2), Some(4), Some(384), Some(768))
        );
        assert_eq!((g.mem_per_node, g.time_limit), (Some(16_384), Some(Seconds(93_600))));
        assert_eq!((g.tres_per_node.as_deref(), g.partition.as_str()), (Some("gres:gpu:8"), "efa"));
    }

    #[test]
    fn wrong_values_name_the_option() {
        for (line, option) in [
            ("-N 0", "--nodes=0"),
            ("-N 4-2", "--nodes=4-2"),
            ("-n x", "--ntasks=x"),
            ("--mem=5X", "--mem=5X"),
            ("-t 1:2:3:4", "--time=1:2:3:4"),
        ] {
            let e = geometry(&sbatch_lines(&format!("#SBATCH {line}"))).unwrap_err();
            assert!(e.starts_with(option), "{e}");
        }
    }

    #[test]
    fn times_as_slurm_has_them() {
        for (text, seconds) in [
            ("10", 600),
            ("10:30", 630),
            ("2:00:00", 7200),
            ("1-0", 86_400),
            ("1-12", 129_600),
            ("1-12:30", 131_400),
            ("1-12:30:15", 131_415),
        ] {
            assert_eq!(slurm_time(text), Some(Some(Seconds(seconds))), "{text}");
        }
        assert_eq!(slurm_time("unlimited"), Some(None));
        assert_eq!(slurm_time("2h"), None);
        assert_eq!(slurm_time("99999999999999999-0"), None);
    }
}
