//! The person's editor, run on a private file.

use std::fs::{OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::config;

/// The largest file that is read back, in bytes; a call from outside cannot be larger either.
const MAX_EDITED: u64 = 4 << 20;

/// Lets the person edit `text` and gives what they left. The file is readable to its owner only, in a
/// directory of its own, and both are gone afterwards. `stop` ends the editor.
///
/// # Errors
/// With what went wrong, in words.
pub(super) async fn edit(text: &str, stop: &CancellationToken) -> Result<String, String> {
    let dir = tempfile::Builder::new()
        .prefix("countersign-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| format!("no directory for the file to edit: {error}"))?;
    let file = dir.path().join("arguments.json");
    write(&file, text).map_err(|error| format!("the file to edit was not written: {error}"))?;
    run(&file, stop).await?;
    read(&file).map_err(|error| format!("the edited file cannot be read: {error}"))
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_EDITED + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_EDITED {
        let told = format!("it is larger than {MAX_EDITED} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, told));
    }
    Ok(text)
}

/// `$VISUAL`, else `$EDITOR`, else `vi`: split at white space and run without a shell, so that nothing in the
/// value or in the path of the file is ever expanded.
fn command() -> Vec<String> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(config::variable);
    let mut words =
        named.map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words.find(|words| !words.is_empty()).unwrap_or_else(|| vec!["vi".to_owned()])
}

async fn run(file: &Path, stop: &CancellationToken) -> Result<(), String> {
    let words = command();
    let Some((program, arguments)) = words.split_first() else {
        return Err("no editor is named; set EDITOR".to_owned());
    };
    let mut editor = Command::new(program)
        .args(arguments)
        .arg(file)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("editor `{program}`: {error}; set EDITOR"))?;
    tokio::select! {
        ended = editor.wait() => match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("editor `{program}` failed ({status}); nothing is changed")),
            Err(error) => Err(format!("editor `{program}`: {error}")),
        },
        () = stop.cancelled() => Err("stopped".to_owned()),
    }
}
