//! Pieces of HTML. Every text that comes from a job goes through [`esc`].

/// Text as HTML shows it; control characters are left out.
pub fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in burst_plan::clean(text, 200).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A section with its heading.
pub fn section(id: &str, heading: &str, content: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{heading}</h2>\n{content}</section>\n"
    )
}

/// A figure with its name and a line below.
pub fn tile(name: &str, value: &str, note: &str) -> String {
    format!(
        "<div class=\"tile\"><span class=\"name\">{name}</span><span class=\"value\">{}</span>\
         <span class=\"note\">{}</span></div>\n",
        esc(value),
        esc(note)
    )
}

/// A legend: (class, name).
pub fn legend(entries: &[(String, String)]) -> String {
    let items: String = entries
        .iter()
        .map(|(class, name)| {
            format!(
                "<li><svg class=\"key\" viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"12\" \
                 height=\"12\"/></svg>{}</li>",
                esc(name)
            )
        })
        .collect();
    format!("<ul class=\"legend\">{items}</ul>\n")
}

/// A table behind a fold, for those who cannot or will not read a chart. Cells are escaped here; `numbers` says which
/// columns are figures.
pub fn fold(summary: &str, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) -> String {
    format!(
        "<details><summary>{}</summary>\n{}</details>\n",
        esc(summary),
        table(summary, head, numbers, rows)
    )
}

/// A table that scrolls by itself where the page is narrow.
pub fn table(caption: &str, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) -> String {
    let class = |c: usize| if numbers.contains(&c) { " class=\"n\"" } else { "" };
    let head: String = head
        .iter()
        .enumerate()
        .map(|(c, h)| format!("<th scope=\"col\"{}>{}</th>", class(c), esc(h)))
        .collect();
    let rows: String = rows
        .iter()
        .map(|r| {
            let cells: String = r
                .iter()
                .enumerate()
                .map(|(c, t)| {
                    let shown = if t.is_empty() { "–".to_owned() } else { esc(t) };
                    match c {
                        0 => format!("<th scope=\"row\">{shown}</th>"),
                        _ => format!("<td{}>{shown}</td>", class(c)),
                    }
                })
                .collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table>\n<caption>{0}</caption>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n",
        esc(caption)
    )
}
