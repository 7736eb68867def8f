use super::{sample::lives, *};

fn head() -> Head {
    Head { title: "What <b> did".into(), scope: "user alice".into(), made: 1_795_000_000 }
}

/// Every start tag has its end tag, in order; void elements and self-closed ones have none.
fn balanced(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    // The style sheet has no tags.
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').ok_or_else(|| format!("not closed: {part}"))?;
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        }
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        if ["meta", "br", "link", "img"].contains(&name) {
            continue;
        }
        if tag.starts_with('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
        } else {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

#[test]
fn the_page_stands_alone_and_needs_no_script() {
    let text = page(&lives(90), &head());
    balanced(&text).unwrap();
    for word in [
        "<script",
        "<link",
        "<img",
        "src=",
        "@import",
        "url(",
        "http://",
        "https://",
        "onload",
        "javascript:",
    ] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(
        text.contains("default-src 'none'")
            && text.contains("lang=\"en\"")
            && text.contains("name=\"viewport\"")
    );
    assert!(text.contains("What &lt;b&gt; did") && !text.contains("What <b>"));
    assert!(!text.contains("run-1 <b>"), "names of jobs are text");
    for id in ["timeline", "phases", "cost", "predicted", "network", "jobs"] {
        assert_eq!(text.matches(&format!("<section id=\"{id}\"")).count(), 1, "{id}");
    }
    assert!(text.len() < 1_000_000, "{}", text.len());
}

#[test]
fn every_picture_says_in_words_what_it_shows() {
    let text = page(&lives(90), &head());
    for svg in text.split("<svg ").skip(1) {
        let tag = svg.split('>').next().unwrap();
        let told = tag.contains("role=\"img\" aria-label=\"") && !tag.contains("aria-label=\"\"");
        assert!(told || tag.contains("aria-hidden"), "{tag}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "figures are figures");
}

#[test]
fn sums_are_those_of_the_lives() {
    let lives = lives(90);
    let total: u64 = lives.iter().map(|l| l.cost.known.0).sum();
    let text = page(&lives, &head());
    assert!(text.contains(&format!("≥ {}", dollars(total))), "{}", dollars(total));
    let unknown = lives.iter().filter(|l| l.cost.total.is_none()).count();
    assert!(unknown > 1 && text.contains(&format!("the cost of {unknown} jobs is not known whole")));
    let near = "predictions were within 20 % of the run time";
    assert!(text.contains(near), "{near}");
    assert!(text.contains("MPI fell back to TCP"));
}

#[test]
fn little_or_nothing_makes_a_page_too() {
    let none = page(&[], &Head::default());
    balanced(&none).unwrap();
    assert!(none.contains("No job that is over"));
    // A life of which nothing is known.
    let bare = page(&[Life::default()], &Head::default());
    balanced(&bare).unwrap();
    assert!(!bare.contains("NaN"), "{bare}");
    assert!(bare.contains("No node has reported") && bare.contains("No job that completed had a plan"));
}

#[test]
fn thousands_of_lives_make_a_page_of_bounded_size() {
    let text = page(&lives(5_000), &head());
    balanced(&text).unwrap();
    assert!(text.len() < 6_000_000, "{}", text.len());
    assert!(text.contains("The youngest 40 of 5000.") && text.contains("The chart shows the last 62 days"));
}

#[test]
fn hostile_names_stay_text() {
    let mut life = lives(1).remove(0);
    let evil = "\"><svg onload=alert(1)>\u{202e}\u{1b}[31m".to_owned();
    (life.user, life.account, life.name, life.text) =
        (evil.clone(), evil.clone(), evil.clone(), evil.clone());
    life.slurm.state = evil.clone();
    life.trouble = Some(evil.clone());
    life.cost.prices = evil.clone();
    life.reports = vec![burst_plan::report::NodeReport {
        steps: vec![burst_plan::report::StepReport { flags: vec![evil], ..Default::default() }],
        ..Default::default()
    }];
    let text = page(&[life], &head());
    balanced(&text).unwrap();
    assert!(!text.contains("<svg onload") && !text.contains('\u{202e}') && !text.contains('\u{1b}'));
}
