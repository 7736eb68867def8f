//! The `--burst-*` options and their transport in `BURST_OPTS`.
use crate::{Efa, Else, Market, MicroUsd, Seconds};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Options a user gave; `None` was not given. See docs/WIRE.md for the transport form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// `--burst[=POOL]`; `Some("")` is `--burst` without a name.
    pub pool: Option<String>,
    /// `--burst-types=a,b`.
    pub types: Option<Vec<String>>,
    /// `--burst-market`.
    pub market: Option<Market>,
    /// `--burst-efa`.
    pub efa: Option<Efa>,
    /// `--burst-max-cost=USD`.
    pub max_cost: Option<MicroUsd>,
    /// `--burst-wait=TIME`.
    pub wait: Option<Seconds>,
    /// `--burst-else`.
    pub otherwise: Option<Else>,
}

/// Most bytes of the transport form.
const MOST: usize = 4_096;
/// Most types a user may name.
const MOST_TYPES: usize = 32;

/// The transport form; strings where a person's words must come through unchanged.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    market: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    efa: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_cost: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "else")]
    otherwise: Option<String>,
}

/// Whether a text can be an instance type's name.
#[must_use]
pub fn is_type_name(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let parts = |(family, size): (&str, &str)| !family.is_empty() && !size.is_empty() && !size.contains('.');
    text.len() <= 32 && text.bytes().all(fine) && text.split_once('.').is_some_and(parts)
}

/// At most 40 characters of what somebody wrote.
fn short(text: &str) -> String {
    crate::clean(text, 40)
}

fn market(text: &str) -> Result<Market, String> {
    match text {
        "on-demand" => Ok(Market::OnDemand),
        "spot" => Ok(Market::Spot),
        "mixed" => Ok(Market::Mixed),
        _ => Err(format!("`{}` is not a market: write on-demand, spot or mixed", short(text))),
    }
}

fn efa(text: &str) -> Result<Efa, String> {
    match text {
        "required" => Ok(Efa::Required),
        "preferred" => Ok(Efa::Preferred),
        "off" => Ok(Efa::Off),
        _ => Err(format!("`{}` is not known: write required, preferred or off", short(text))),
    }
}

fn otherwise(text: &str) -> Result<Else, String> {
    match text {
        "wait" => Ok(Else::Wait),
        "local" => Ok(Else::Local),
        "cancel" => Ok(Else::Cancel),
        _ => Err(format!("`{}` is not known: write wait, local or cancel", short(text))),
    }
}

fn pool(text: &str) -> Result<String, String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match text.len() <= 64 && text.bytes().all(fine) {
        true => Ok(text.to_owned()),
        false => Err("a pool's name has letters, digits, - and _".to_owned()),
    }
}

fn types(list: &[String]) -> Result<Vec<String>, String> {
    if list.is_empty() || list.len() > MOST_TYPES {
        return Err(format!(
            "name from 1 to {MOST_TYPES} instance types, such as hpc7a.96xlarge,hpc6a.48xlarge"
        ));
    }
    for t in list {
        if !is_type_name(t) {
            return Err(format!("`{}` is not an instance type; they look like hpc7a.96xlarge", short(t)));
        }
    }
    Ok(list.to_vec())
}

/// One value of the transport form, its error with its key in front.
fn one<T, U>(
    key: &str,
    value: Option<T>,
    read: impl Fn(T) -> Result<U, String>,
) -> Result<Option<U>, String> {
    value.map(read).transpose().map_err(|e| format!("{key}: {e}"))
}

impl Options {
    /// Sets one option as SPANK hands it over: its name without `--`, and the value. Given twice, the later one counts:
    /// sbatch hands the script's options first and the command line's after them.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let need = || value.filter(|v| !v.is_empty()).ok_or_else(|| format!("--{name} needs a value"));
        let told = |e: String| format!("--{name}: {e}");
        match name {
            "burst" => self.pool = Some(pool(value.unwrap_or("")).map_err(told)?),
            "burst-types" => {
                let list: Vec<String> = need()?.split(',').map(|t| t.trim().to_owned()).collect();
                self.types = Some(types(&list).map_err(told)?);
            }
            "burst-market" => self.market = Some(market(need()?).map_err(told)?),
            "burst-efa" => self.efa = Some(efa(need()?).map_err(told)?),
            "burst-max-cost" => self.max_cost = Some(MicroUsd::parse(need()?).map_err(told)?),
            "burst-wait" => self.wait = Some(Seconds::parse_human(need()?).map_err(told)?),
            "burst-else" => self.otherwise = Some(otherwise(need()?).map_err(told)?),
            _ => return Err(format!("--{} is not an option of slurm-burst", short(name))),
        }
        Ok(())
    }

    /// The transport form.
    #[must_use]
    pub fn to_json(&self) -> String {
        let wire = Wire {
            pool: self.pool.clone(),
            types: self.types.clone(),
            market: self.market.map(|m| m.word().to_owned()),
            efa: self.efa.map(|e| e.word().to_owned()),
            max_cost: self.max_cost.map(|c| c.to_string()),
            wait: self.wait.map(|w| format!("{}s", w.0)),
            otherwise: self.otherwise.map(|o| o.word().to_owned()),
        };
        // Strings only: this cannot fail.
        serde_json::to_string(&wire).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Reads the transport form; it may be forged.
    ///
    /// # Errors
    /// What is wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MOST {
            return Err(format!("longer than {MOST} bytes"));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|e| crate::clean(&e.to_string(), 200))?;
        Ok(Self {
            pool: one("pool", wire.pool, |p| pool(&p))?,
            types: one("types", wire.types, |t| types(&t))?,
            market: one("market", wire.market, |m| market(&m))?,
            efa: one("efa", wire.efa, |e| efa(&e))?,
            max_cost: one("max_cost", wire.max_cost, |c| MicroUsd::parse(&c))?,
            wait: one("wait", wire.wait, |w| Seconds::parse_human(&w))?,
            otherwise: one("else", wire.otherwise, |o| otherwise(&o))?,
        })
    }
}
