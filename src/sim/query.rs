//! The query protocol: a form becomes an ordered list of parameters, is checked against what the action accepts, and is
//! then read as a tree (`LaunchTemplateConfigs.1.Overrides.2.SubnetId`).

use crate::errors::{ApiError, ApiResult};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// The parameters of a call as they came, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(String, String)>);

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (k, v) in &self.0 {
            map.serialize_entry(k, v)?;
        }
        map.end()
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

impl Params {
    /// Decodes `application/x-www-form-urlencoded`.
    pub fn decode(body: &[u8]) -> ApiResult<Self> {
        let malformed =
            |what: &str| ApiError::new("MalformedQueryString", format!("The query string {what}"));
        let text = std::str::from_utf8(body).map_err(|_| malformed("is not UTF-8"))?;
        let mut list: Vec<(String, String)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(k), Some(v)) = (unescape(k), unescape(v)) else {
                return Err(malformed("contains a broken escape"));
            };
            if !seen.insert(k.clone()) {
                return Err(malformed(&format!("contains the parameter {k} twice")));
            }
            list.push((k, v));
        }
        Ok(Self(list))
    }

    /// The value of a top-level parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// What decides whether two calls with one client token are the same call.
    pub fn fingerprint(&self) -> String {
        let mut sorted: Vec<_> = self.0.iter().filter(|(k, _)| k != "ClientToken").collect();
        sorted.sort();
        format!("{sorted:?}")
    }

    /// Checks names and the form of values against what the action accepts, and builds the tree.
    pub fn check(&self, action: &str) -> ApiResult<Tree> {
        let Some(accepted) = accepted().get(action) else {
            return Err(ApiError::new(
                "InvalidAction",
                format!("The action {action} is not valid for this web service."),
            ));
        };
        let mut tree = Tree::default();
        for (k, v) in &self.0 {
            if k == "Action" || k == "Version" {
                continue;
            }
            let parts: Vec<&str> = k.split('.').collect();
            let Some(p) = accepted.iter().find(|p| p.matches(&parts)) else {
                return Err(ApiError::new(
                    "UnknownParameter",
                    format!("The parameter {k} is not recognized"),
                ));
            };
            if !p.kind_ok(v) {
                return Err(ApiError::value(k, v, &p.wants()));
            }
            tree.insert(&parts, v);
        }
        Ok(tree)
    }
}

/// One accepted parameter.
struct Pattern {
    parts: Vec<&'static str>,
    kind: &'static str,
}

impl Pattern {
    fn matches(&self, parts: &[&str]) -> bool {
        if self.parts.last() == Some(&"**") {
            let head = self.parts.len() - 1;
            return parts.len() > head && Self::same(self.parts.get(..head), parts.get(..head));
        }
        parts.len() == self.parts.len() && Self::same(Some(&self.parts), Some(parts))
    }

    fn same(pattern: Option<&[&str]>, parts: Option<&[&str]>) -> bool {
        let (Some(a), Some(b)) = (pattern, parts) else { return false };
        a.iter().zip(b).all(|(p, x)| {
            if *p == "#" {
                x.parse::<u32>().is_ok_and(|n| n > 0) && !x.starts_with(['0', '+'])
            } else {
                p == x
            }
        })
    }

    fn kind_ok(&self, v: &str) -> bool {
        match self.kind {
            "" | "t" => true,
            "i" => v.parse::<i64>().is_ok(),
            "d" => v.parse::<f64>().is_ok_and(f64::is_finite),
            "b" => matches!(v, "true" | "false"),
            list => list.split('|').any(|x| x == v),
        }
    }

    fn wants(&self) -> String {
        match self.kind {
            "i" => "Expected an integer.".into(),
            "d" => "Expected a number.".into(),
            "b" => "Expected true or false.".into(),
            list => format!("Valid values: {}.", list.replace('|', ", ")),
        }
    }
}

fn accepted() -> &'static HashMap<&'static str, Vec<Pattern>> {
    static TABLE: OnceLock<HashMap<&'static str, Vec<Pattern>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        include_str!("data/parameters.txt")
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| {
                let mut words = l.split_whitespace();
                let action = words.next()?;
                let list = words
                    .map(|w| {
                        let (name, kind) = w.split_once('=').unwrap_or((w, ""));
                        Pattern { parts: name.split('.').collect(), kind }
                    })
                    .collect();
                Some((action, list))
            })
            .collect()
    })
}

/// Parameters by structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    value: Option<String>,
    kids: BTreeMap<String, Tree>,
}

impl Tree {
    fn insert(&mut self, path: &[&str], v: &str) {
        match path.split_first() {
            None => self.value = Some(v.to_owned()),
            Some((head, rest)) => self.kids.entry((*head).to_owned()).or_default().insert(rest, v),
        }
    }

    /// The subtree at a dotted path.
    pub fn at(&self, path: &str) -> Option<&Tree> {
        path.split('.').try_fold(self, |t, p| t.kids.get(p))
    }

    /// Text at a dotted path.
    pub fn str(&self, path: &str) -> Option<&str> {
        self.at(path).and_then(|t| t.value.as_deref())
    }

    /// Text that has to be there.
    pub fn need(&self, path: &str) -> ApiResult<&str> {
        self.str(path).filter(|v| !v.is_empty()).ok_or_else(|| ApiError::missing(path))
    }

    /// Integer at a dotted path (its form was checked with the name).
    pub fn int(&self, path: &str) -> Option<i64> {
        self.str(path).and_then(|v| v.parse().ok())
    }

    /// Decimal at a dotted path.
    pub fn float(&self, path: &str) -> Option<f64> {
        self.str(path).and_then(|v| v.parse().ok())
    }

    /// Boolean at a dotted path; absent is false.
    pub fn flag(&self, path: &str) -> bool {
        self.str(path) == Some("true")
    }

    /// The members of a list, in the order of their numbers.
    pub fn list(&self, path: &str) -> Vec<&Tree> {
        let Some(t) = self.at(path) else { return Vec::new() };
        let mut v: Vec<(u32, &Tree)> =
            t.kids.iter().filter_map(|(k, t)| Some((k.parse().ok()?, t))).collect();
        v.sort_by_key(|(n, _)| *n);
        v.into_iter().map(|(_, t)| t).collect()
    }

    /// The members of a list of texts.
    pub fn strings(&self, path: &str) -> Vec<String> {
        self.list(path).into_iter().filter_map(|t| t.value.clone()).collect()
    }

    /// Children by name.
    pub fn kids(&self) -> impl Iterator<Item = (&String, &Tree)> {
        self.kids.iter()
    }

    /// This node's own text.
    pub fn text(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, action: &str) -> ApiResult<Tree> {
        Params::decode(body.as_bytes()).and_then(|p| p.check(action))
    }

    #[test]
    fn decodes_in_order_and_reads_as_a_tree() {
        let p =
            Params::decode(b"Action=DescribeInstances&InstanceId.2=b&InstanceId.10=c&InstanceId.1=a%20+x")
                .unwrap();
        assert_eq!(
            serde_json::to_string(&p).unwrap(),
            r#"{"Action":"DescribeInstances","InstanceId.2":"b","InstanceId.10":"c","InstanceId.1":"a  x"}"#
        );
        let t = p.check("DescribeInstances").unwrap();
        assert_eq!(t.strings("InstanceId"), ["a  x", "b", "c"]);
    }

    #[test]
    fn unknown_and_misspelt_parameters_are_refused() {
        for (body, action) in [
            ("InstanceIds.1=i-1", "DescribeInstances"),
            ("InstanceId.0=i-1", "DescribeInstances"),
            ("InstanceId=i-1", "DescribeInstances"),
            ("LaunchTemplateConfigs.1.Overrides.1.NetworkInterface.1.DeviceIndex=0", "CreateFleet"),
        ] {
            assert_eq!(check(body, action).unwrap_err().code, "UnknownParameter", "{body}");
        }
        assert_eq!(check("", "RunInstance").unwrap_err().code, "InvalidAction");
    }

    #[test]
    fn values_have_their_type() {
        for body in ["MaxResults=many", "DryRun=maybe"] {
            assert_eq!(check(body, "DescribeInstances").unwrap_err().code, "InvalidParameterValue", "{body}");
        }
        assert_eq!(check("Type=now", "CreateFleet").unwrap_err().code, "InvalidParameterValue");
        assert!(check("Type=instant", "CreateFleet").is_ok());
    }

    #[test]
    fn broken_forms() {
        for b in [&b"A=%4"[..], b"A=%zz", b"A=1&A=2", b"A=\xff"] {
            assert_eq!(Params::decode(b).unwrap_err().code, "MalformedQueryString");
        }
    }
}
