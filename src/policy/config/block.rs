//! `[[pool.NAME.block]]`: a type, its names, and what is known of it or said about it.

use super::{Block, read::Table};
use crate::types::TypeBook;
use burst_plan::{hostlist, options::is_type_name};

/// All blocks of a pool's table, in the order of the file.
pub(super) fn blocks(t: &Table<'_, '_>, book: &TypeBook) -> Vec<Block> {
    let list = t.get("block").and_then(|v| v.get_ref().as_array());
    let mut out = Vec::new();
    for (i, item) in list.into_iter().flat_map(|l| l.iter()).enumerate() {
        let path = format!("{}[{i}]", t.at("block"));
        let Some(map) = item.get_ref().as_table() else {
            t.notes.error(item.span().start, &path, format!("is a table: write [[{}]]", t.at("block")));
            continue;
        };
        let b = Table::new(Some(map), path, item.span().start, t.notes);
        out.extend(block(&b, book));
        b.finish();
    }
    if out.is_empty() {
        t.error("block", format!("no block: write [[{}]] with type and nodes", t.at("block")));
    }
    out
}

/// Most EFA interfaces of one instance (p5 has 32).
const EFA_MOST: u32 = 64;
/// What a block has to say of a type that the crate does not know.
const OWN_FACTS: &str = "cpus, memory (MiB), and gpus and efa where it has them";

fn block(b: &Table<'_, '_>, book: &TypeBook) -> Option<Block> {
    let kind = b.text("type");
    let nodes = b.text("nodes");
    let (cpus, memory, gpus) =
        (b.small("cpus", 1, 65_535), b.count("memory", 1, 1 << 40), b.small("gpus", 0, 64));
    let efa = b.small("efa", 0, EFA_MOST);
    let (ports, node_addr) = (b.text("ports"), b.text("node_addr"));
    let Some(kind) = kind else {
        b.error("type", "missing: write type = \"hpc7a.96xlarge\"");
        return None;
    };
    let Some(nodes) = nodes else {
        b.error("nodes", "missing: write nodes = \"efa7-[0001-0512]\"");
        return None;
    };
    if !is_type_name(&kind) {
        let shown = burst_plan::clean(&kind, 40);
        b.error("type", format!("`{shown}` is not an instance type; they look like hpc7a.96xlarge"));
        return None;
    }
    let facts = book.get(&kind);
    if let (Some(f), Some(n)) = (facts, efa)
        && n > f.efa_max
    {
        b.error(
            "efa",
            format!("{kind} takes {} EFA interfaces, not {n}: leave it out, or write fewer", f.efa_max),
        );
    }
    if facts.is_none() && (cpus.is_none() || memory.is_none()) {
        let family = book.family(&kind);
        let hint = match family.is_empty() {
            true => format!("if EC2 has it, write {OWN_FACTS} as well"),
            false => format!("known sizes are {}; if EC2 has it, write {OWN_FACTS}", family.join(", ")),
        };
        b.error("type", format!("nothing is known of {kind}: {hint}"));
        return None;
    }
    let names = hostlist::expand(&nodes).map_err(|e| b.error("nodes", e.to_string())).ok()?;
    if node_addr
        .as_deref()
        .is_some_and(|a| a.is_empty() || a.contains(|c: char| c.is_whitespace() || c.is_control()))
    {
        b.error("node_addr", "is one address or host name: write \"127.0.0.1\"");
    }
    if let Some(p) = &ports {
        let count = p
            .split_once('-')
            .and_then(|(a, z)| Some((a.parse::<u16>().ok().filter(|a| *a > 0)?, z.parse::<u16>().ok()?)))
            .and_then(|(a, z)| Some(usize::from(z.checked_sub(a)?) + 1));
        if count != Some(names.len()) {
            b.error("ports", format!("write a range of {} ports, such as 27001-27064", names.len()));
        }
    }
    Some(Block {
        cpus: cpus.or_else(|| facts.map(|f| f.cores)).unwrap_or(1),
        // Slurm drains a node that has less than it was told: kernel and firmware take their share.
        memory_mib: memory.or_else(|| facts.map(|f| f.memory_mib * 95 / 100)).unwrap_or(1),
        gpus: gpus.or_else(|| facts.map(|f| f.gpus)).unwrap_or(0),
        efa_max: efa.or_else(|| facts.map(|f| f.efa_max)).unwrap_or(0),
        instance_type: kind,
        nodes,
        names,
        ports,
        node_addr,
    })
}
