//! What several actions have in common: filters, pages, tags, client tokens.

use super::Request;
use crate::errors::{ApiError, ApiResult};
use crate::query::Tree;
use crate::world::{Tags, World};
use serde_json::{Value, json};

/// `*` and `?` as EC2's filters read them.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j, mut back) = (0, 0, None);
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                back = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || Some(c) == t.get(j) => {
                i += 1;
                j += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    i = star + 1;
                    j = at + 1;
                }
                None => return false,
            },
        }
    }
    p.get(i..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// The filters of a call: each has to match, by any of its values.
pub struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// Reads `Filter.N`; a name that is not `known` (and not a tag filter) is refused.
    pub fn read(tree: &Tree, known: &[&str]) -> ApiResult<Self> {
        let mut list = Vec::new();
        for f in tree.list("Filter") {
            let name = f.need("Name").map_err(|_| ApiError::missing("Filter.Name"))?;
            let tag = name == "tag-key" || name.strip_prefix("tag:").is_some_and(|k| !k.is_empty());
            if !(known.contains(&name) || tag && known.contains(&"tag")) {
                return Err(ApiError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' is invalid"),
                ));
            }
            let values = f.strings("Value");
            if values.is_empty() {
                return Err(ApiError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' has no values"),
                ));
            }
            list.push((name.to_owned(), values));
        }
        Ok(Self(list))
    }

    /// Whether a resource passes: `attribute` answers a filter's name with the resource's values.
    pub fn pass(&self, tags: Option<&Tags>, attribute: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|(name, values)| {
            let have = match (tags, name.strip_prefix("tag:")) {
                (Some(t), Some(key)) => t.get(key).cloned().into_iter().collect(),
                (Some(t), None) if name == "tag-key" => t.keys().cloned().collect(),
                _ => attribute(name),
            };
            have.iter().any(|h| values.iter().any(|v| wildcard(v, h)))
        })
    }
}

/// Cuts one page out of a list, and says how to ask for the next.
pub fn page<T>(tree: &Tree, list: Vec<T>, (min, max): (i64, i64)) -> ApiResult<(Vec<T>, Value)> {
    let start = match tree.str("NextToken") {
        None | Some("") => 0,
        Some(t) => t
            .strip_prefix("burst-page-")
            .and_then(|n| n.parse::<usize>().ok())
            .filter(|n| *n <= list.len())
            .ok_or_else(|| {
                ApiError::new(
                    "InvalidPaginationToken",
                    "The specified pagination token is not valid or is expired.",
                )
            })?,
    };
    let size = match tree.int("MaxResults") {
        None => usize::MAX,
        Some(n) if (min..=max).contains(&n) => usize::try_from(n).unwrap_or(usize::MAX),
        Some(n) => {
            return Err(ApiError::value(
                "MaxResults",
                &n.to_string(),
                &format!("Expecting a value between {min} and {max}."),
            ));
        }
    };
    let total = list.len();
    let end = start.saturating_add(size).min(total);
    let next = if end < total { json!(format!("burst-page-{end}")) } else { Value::Null };
    Ok((list.into_iter().skip(start).take(end - start).collect(), next))
}

/// Tags as an answer writes them.
pub fn tag_set(tags: &Tags) -> Value {
    tags.iter().map(|(k, v)| json!({"key": k, "value": v})).collect()
}

/// Reads a list of tags and checks EC2's rules for them.
pub fn read_tags(list: &[&Tree]) -> ApiResult<Tags> {
    let mut tags = Tags::new();
    for t in list {
        let key = t.need("Key").map_err(|_| ApiError::missing("Tag.Key"))?;
        let value = t.str("Value").unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use"
                ),
            ));
        }
        if key.chars().count() > 128 {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "Tag key exceeds the maximum length of 128 characters",
            ));
        }
        if value.chars().count() > 256 {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "Tag value exceeds the maximum length of 256 characters",
            ));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!("Duplicate tag key '{key}' specified."),
            ));
        }
    }
    if tags.len() > 50 {
        return Err(ApiError::new("TagLimitExceeded", "The maximum number of tags for a resource is 50."));
    }
    Ok(tags)
}

/// Reads tag specifications at a path: (resource type, tags). Types outside `allowed` are refused.
pub fn tag_specs(tree: &Tree, path: &str, allowed: &[&str]) -> ApiResult<Vec<(String, Tags)>> {
    let mut out: Vec<(String, Tags)> = Vec::new();
    for s in tree.list(path) {
        let kind = s.need("ResourceType").map_err(|_| ApiError::missing("TagSpecification.ResourceType"))?;
        if !allowed.contains(&kind) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!("'{kind}' is not a valid taggable resource type for this operation."),
            ));
        }
        if out.iter().any(|(k, _)| k == kind) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!("Duplicate resource type '{kind}' found in tag specifications."),
            ));
        }
        let tags = read_tags(&s.list("Tag"))?;
        if tags.is_empty() {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "Tag specification must have at least one tag",
            ));
        }
        out.push((kind.to_owned(), tags));
    }
    Ok(out)
}

/// The tags of one kind.
pub fn tags_of(specs: &[(String, Tags)], kind: &str) -> Tags {
    specs.iter().find(|(k, _)| k == kind).map(|(_, t)| t.clone()).unwrap_or_default()
}

/// The answer already given under this call's client token, if there is one.
pub fn replay(r: &Request<'_>, w: &World, action: &'static str, longest: usize) -> ApiResult<Option<Value>> {
    let Some(token) = r.tree.str("ClientToken") else { return Ok(None) };
    if token.is_empty() || token.len() > longest || !token.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return Err(ApiError::value(
            "ClientToken",
            token,
            &format!("Expected 1 to {longest} ASCII characters."),
        ));
    }
    match w.tokens.get(&(action, token.to_owned())) {
        None => Ok(None),
        Some((same, answer)) if *same == r.params.fingerprint() => Ok(Some(answer.clone())),
        Some(_) => Err(ApiError::new(
            "IdempotentParameterMismatch",
            "The client token has already been used with different request parameters.",
        )),
    }
}

/// Keeps an answer for its client token.
pub fn remember(r: &Request<'_>, w: &mut World, action: &'static str, answer: &Value) {
    if let Some(token) = r.tree.str("ClientToken") {
        w.tokens.insert((action, token.to_owned()), (r.params.fingerprint(), answer.clone()));
    }
}

/// Ends a call that is only a test. To be asked once everything is checked and before anything is done.
pub fn dry_run(tree: &Tree) -> ApiResult<()> {
    if tree.flag("DryRun") { Err(ApiError::dry_run()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn wildcards() {
        for (p, t, want) in [
            ("*", "", true),
            ("hpc7a.*", "hpc7a.96xlarge", true),
            ("*.96x*", "hpc7a.96xlarge", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXXbYYbc", true),
            ("a*b", "abc", false),
            ("", "a", false),
        ] {
            assert_eq!(wildcard(p, t), want, "{p} {t}");
        }
    }
}
