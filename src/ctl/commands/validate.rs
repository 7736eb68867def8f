//! `burstctl validate`.

use crate::{
    cli::Common,
    out::{Answer, Fail, Table, printable},
    places::{config as read_config, config_path},
};
use burst_plan::plan::{PLAN_BYTES, Parsed, PlanError, parse};
use burst_policy::{Config, prices::Prices};
use serde_json::json;
use std::{
    fmt::Write,
    io::Read,
    path::{Path, PathBuf},
};

/// Reads a plan: at most one byte more than allowed, so that the parser's own message about size is the one shown.
pub fn read_plan(file: &Path, limit: usize) -> Result<Vec<u8>, Fail> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|e| Fail::problem(format!("{}: {e}; name a readable plan file", file.display())))?;
    Ok(bytes)
}

/// `FILE:LINE:COLUMN: error: PATH: TEXT`, as compilers write it and editors read it.
pub fn plan_error(file: &str, e: &PlanError) -> String {
    let path = if e.path.is_empty() { String::new() } else { format!("{}: ", e.path) };
    printable(&format!("{file}:{}:{}: error: {path}{}", e.line, e.column, e.text))
}

fn limit_of(config: Option<&Config>) -> usize {
    config.map_or(PLAN_BYTES, |c| c.limits.plan_bytes)
}

/// `validate plan`.
pub fn plan(common: &Common, file: &Path, strict_pool: Option<&str>) -> Result<Answer, Fail> {
    // Without burst.toml (a login node) the plan alone is checked; --strict-pool cannot do without it.
    let site = match strict_pool {
        Some(_) => Some(read_config(common)?),
        None => read_config(common).ok(),
    };
    let bytes = read_plan(file, limit_of(site.as_ref()))?;
    let name = match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    match parse(&bytes, limit_of(site.as_ref())) {
        Err(errors) => {
            let mut text: String = errors.0.iter().map(|e| plan_error(&name, e) + "\n").collect();
            let _ = writeln!(text, "{}", counted(errors.0.len()));
            Ok(Answer { code: 1, text, json: json!({"ok": false, "errors": errors.0}) })
        }
        Ok(parsed) => {
            let strict = match (strict_pool, &site) {
                (Some(pool), Some(config)) => strict_errors(config, pool, &parsed)?,
                _ => Vec::new(),
            };
            let mut text = String::new();
            for w in &parsed.warnings {
                let _ = writeln!(text, "{}", printable(&format!("{name}: warning: {}: {}", w.path, w.text)));
            }
            for e in &strict {
                let _ = writeln!(text, "{}", printable(&format!("{name}: error: {e}")));
            }
            if strict.is_empty() {
                let _ = writeln!(text, "{name}: ok{}", summary(&parsed));
            } else {
                let _ = writeln!(text, "{}", counted(strict.len()));
            }
            Ok(Answer {
                code: u8::from(!strict.is_empty()),
                text,
                json: json!({"ok": strict.is_empty(), "plan": parsed.plan, "warnings": parsed.warnings, "errors": strict}),
            })
        }
    }
}

fn counted(n: usize) -> String {
    if n == 1 { "1 error".into() } else { format!("{n} errors") }
}

fn summary(parsed: &Parsed) -> String {
    let p = &parsed.plan;
    if !p.should_burst {
        return ": should_burst is false, the job runs where it is sent".into();
    }
    let mut parts = vec![p.types.join(", ")];
    parts.extend(p.nodes.map(|n| format!("{n} nodes")));
    parts.extend(p.market.map(|m| word(&m)));
    parts.extend(p.efa.map(|e| format!("EFA {}", word(&e))));
    parts.extend(p.max_cost.map(|c| format!("at most {c} USD")));
    parts.retain(|t| !t.is_empty());
    format!(": {}", parts.join(", "))
}

/// The word configuration and plans use for a value.
pub fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn strict_errors(config: &Config, pool: &str, parsed: &Parsed) -> Result<Vec<String>, Fail> {
    let Some(found) = config.pools.get(pool) else {
        let names: Vec<&str> = config.pools.keys().map(String::as_str).collect();
        return Err(Fail::usage(format!("there is no pool {pool:?}; burst.toml has: {}", names.join(", "))));
    };
    let plan = &parsed.plan;
    let has: Vec<&str> = found.blocks.iter().map(|b| b.instance_type.as_str()).collect();
    let mut errors = Vec::new();
    for wanted in plan.types.iter().filter(|t| !has.contains(&t.as_str())) {
        errors.push(format!("type {wanted} is not in pool {pool}, which has: {}", has.join(", ")));
    }
    if plan.efa == Some(burst_plan::Efa::Required) {
        let named =
            |b: &&burst_policy::config::Block| plan.types.contains(&b.instance_type) && b.efa_max == 0;
        for block in found.blocks.iter().filter(named) {
            errors.push(format!("EFA is required, but type {} has none", block.instance_type));
        }
    }
    if let Some(market) = plan.market.filter(|m| !found.markets_allowed.contains(m)) {
        let allowed: Vec<String> = found.markets_allowed.iter().map(word).collect();
        errors.push(format!(
            "market {} is not allowed in pool {pool}, which allows: {}",
            word(&market),
            allowed.join(", ")
        ));
    }
    Ok(errors)
}

/// Reads the price file of a configuration.
///
/// # Errors
/// What is wrong, with the file's name.
pub fn prices(config: &Config) -> Result<Prices, String> {
    let Some(path) = &config.price_file else { return Ok(Prices::default()) };
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("{}: {e}; [prices] file of burst.toml names it", path.display()))?;
    Prices::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// `validate config`.
pub fn config(common: &Common, file: Option<&Path>) -> Result<Answer, Fail> {
    let path: PathBuf = file.map_or_else(|| config_path(common), Path::to_path_buf);
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Fail::problem(format!(
            "{name}: {e}; name the file: burstctl validate config FILE (or --config, SLURM_BURST_CONF)"
        ))
    })?;
    match Config::parse(&text, &name) {
        Err(errors) => {
            let mut out = String::new();
            let mut list = Vec::new();
            for e in &errors {
                let _ = writeln!(out, "{}:{}: error: {}: {}", e.file, e.line, e.key, printable(&e.text));
                list.push(json!({"file": e.file, "line": e.line, "key": e.key, "text": e.text}));
            }
            let _ = writeln!(out, "{}", counted(errors.len()));
            Ok(Answer { code: 1, text: out, json: json!({"ok": false, "errors": list}) })
        }
        Ok(config) => {
            let prices = prices(&config);
            let mut out = format!("{name}: ok\n\n");
            out.push_str(&describe(&config, prices.as_ref().ok()));
            let code = match &prices {
                Ok(_) => 0,
                Err(e) => {
                    let _ = writeln!(out, "\nerror: {e}");
                    1
                }
            };
            let json = json!({"ok": code == 0, "config": config, "errors": prices.err().into_iter().collect::<Vec<_>>()});
            Ok(Answer { code, text: out, json })
        }
    }
}

fn describe(config: &Config, prices: Option<&Prices>) -> String {
    let mut table = Table::new(&[
        "POOL",
        "PARTITION",
        "TYPE",
        "NAMES",
        "COUNT",
        "CPUS",
        "MEMORY MIB",
        "GPUS",
        "EFA",
        "USD/HOUR",
    ]);
    for pool in config.pools.values() {
        for b in &pool.blocks {
            let hourly = prices.and_then(|p| p.hourly(&config.aws.region, &b.instance_type, pool.market));
            table.row(vec![
                pool.name.clone(),
                pool.partition.clone(),
                b.instance_type.clone(),
                b.nodes.clone(),
                b.names.len().to_string(),
                b.cpus.to_string(),
                b.memory_mib.to_string(),
                b.gpus.to_string(),
                b.efa_max.to_string(),
                hourly.map(|p| p.to_string()).unwrap_or_else(|| "unknown".into()),
            ]);
        }
    }
    let mut text = format!("Region {}\n{}", config.aws.region, table.render(0));
    for pool in config.pools.values() {
        for r in &pool.reservations {
            let group = r.group.as_ref().map(|g| format!(", placement group {g}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "pool {}: reservation {} ({}, {} in {}{group})",
                pool.name,
                r.id,
                r.kind.word(),
                r.instance_type,
                r.zone
            );
        }
        for a in &pool.regions {
            let zones: Vec<&str> = a.zones.iter().map(|(z, _)| z.as_str()).collect();
            let _ = writeln!(text, "pool {}: then Region {} ({})", pool.name, a.region, zones.join(", "));
        }
    }
    text
}
