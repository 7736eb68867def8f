//! `[pool.NAME.region.REGION]` and `[aws.endpoints]`: further Regions.

use super::{
    Abroad, Pool,
    across::is_zone_of,
    check::{Home, check_home, is_region},
    read::Table,
};
use std::collections::BTreeMap;

/// A pool's further Regions, in the order of the file.
pub(super) fn regions(t: &Table<'_, '_>) -> Vec<Abroad> {
    t.tables("region").into_iter().map(|(name, r)| region(name, &r)).collect()
}

fn region(region: String, t: &Table<'_, '_>) -> Abroad {
    let abroad = Abroad {
        zones: t.pairs("zones"),
        image: t.text("image"),
        security_groups: t.texts("security_groups"),
        instance_profile: t.text("instance_profile"),
        launch_template: t.text("launch_template"),
        key_name: t.text("key_name"),
        region,
    };
    let name = &abroad.region;
    if !is_region(name) {
        let shown = burst_plan::clean(name, 40);
        t.notes.error(t.offset, &t.path, format!("`{shown}` is not a region: write one such as us-west-2"));
    }
    check_home(
        t,
        &Home {
            zones: &abroad.zones,
            image: abroad.image.as_ref(),
            security_groups: &abroad.security_groups,
            launch_template: abroad.launch_template.as_ref(),
        },
    );
    for (zone, _) in abroad.zones.iter().filter(|(z, _)| is_region(name) && !is_zone_of(name, z)) {
        t.error("zones", format!("zone {zone} is not in region {name}: write one such as {name}a"));
    }
    t.finish();
    abroad
}

/// What contradicts the rest of the pool.
pub(super) fn check(t: &Table<'_, '_>, p: &Pool) {
    for a in p.regions.iter().filter(|a| a.launch_template.is_some() != p.launch_template.is_some()) {
        let (here, there) = match p.launch_template.is_some() {
            true => ("launch_template", "image"),
            false => ("image", "launch_template"),
        };
        t.error(
            "region",
            format!("{}: the pool has {here}, so write {here} there, too, not {there}", a.region),
        );
    }
}

/// `[aws.endpoints]`.
pub(super) fn endpoints(t: &Table<'_, '_>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (region, url) in t.pairs("endpoints") {
        if !is_region(&region) {
            let shown = burst_plan::clean(&region, 40);
            t.error("endpoints", format!("`{shown}` is not a region: write us-west-2 = \"https://…\""));
        }
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            t.error("endpoints", format!("the URL of {region} must begin with https:// (or http://)"));
        }
        out.insert(region, url);
    }
    out
}

impl Pool {
    /// The pool as it is in a Region: None is `aws.region`; a Region it does not have any more has none.
    #[must_use]
    pub fn in_region(&self, region: Option<&str>) -> Option<Self> {
        let Some(region) = region else { return Some(self.clone()) };
        let a = self.regions.iter().find(|a| a.region == region)?;
        Some(Self {
            zones: a.zones.clone(),
            image: a.image.clone(),
            security_groups: a.security_groups.clone(),
            instance_profile: a.instance_profile.clone().or_else(|| self.instance_profile.clone()),
            launch_template: a.launch_template.clone(),
            key_name: a.key_name.clone(),
            ..self.clone()
        })
    }

    /// Every place it launches into: Region (None is `aws.region`), zone and subnet, in order.
    pub fn places(&self) -> impl Iterator<Item = (Option<&str>, &str, &str)> {
        let here = self.zones.iter().map(|(z, s)| (None, z.as_str(), s.as_str()));
        let abroad = self
            .regions
            .iter()
            .flat_map(|a| a.zones.iter().map(|(z, s)| (Some(a.region.as_str()), z.as_str(), s.as_str())));
        here.chain(abroad)
    }
}
