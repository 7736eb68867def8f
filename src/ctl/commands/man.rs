//! `burstctl man`.

use crate::cli::Cli;
use clap::{Command, CommandFactory};

/// One page with every command, so that `man burstctl` is all there is to read.
pub fn page() -> Vec<u8> {
    let mut root = Cli::command();
    root.build();
    let mut bytes = Vec::new();
    // Writing into a Vec does not fail.
    let _ = clap_mangen::Man::new(root.clone()).section("1").render(&mut bytes);
    for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
        section(command, "burstctl", &mut bytes);
    }
    bytes
}

fn section(command: &Command, parent: &str, bytes: &mut Vec<u8>) {
    let name = format!("{parent} {}", command.get_name());
    let man = clap_mangen::Man::new(command.clone());
    bytes.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
    let mut part = Vec::new();
    let _ = man.render_description_section(&mut part);
    let _ = man.render_options_section(&mut part);
    // Headings of a part become paragraphs' titles under the command's own heading.
    let text = String::from_utf8_lossy(&part).replace(".SH DESCRIPTION\n", "").replace(".SH ", ".SS ");
    bytes.extend_from_slice(text.as_bytes());
    for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
        section(below, &name, bytes);
    }
}
