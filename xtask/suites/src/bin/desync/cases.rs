//! The crate's cases, from its source.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use yaml_rust2::{Yaml, YamlLoader};

/// How the crate rates a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

/// One case.
pub struct Case {
    /// The file and the case's name.
    pub place: String,
    pub tier: Tier,
    /// The request, with a body as long as it says.
    pub request: Vec<u8>,
}

/// Bodies are no longer than this; one case has a length that overflows.
const LONGEST: usize = 5_000_000;

/// All cases of all files.
pub fn all() -> Result<Vec<Case>, Box<dyn Error>> {
    let mut files: Vec<_> = fs::read_dir(source()?.join("tests"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let documents = YamlLoader::load_from_str(&fs::read_to_string(&file)?)?;
        let list = documents.first().and_then(Yaml::as_vec).ok_or("no list of cases")?;
        for yaml in list {
            cases.push(case(&file, yaml).ok_or_else(|| format!("{}: {yaml:?}", file.display()))?);
        }
    }
    Ok(cases)
}

/// Where cargo keeps the crate.
fn source() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(manifest)
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let guardian = packages.iter().find(|package| package["name"] == "http_desync_guardian");
    let path = guardian.and_then(|package| package["manifest_path"].as_str());
    let folder = path.and_then(|path| Path::new(path).parent());
    Ok(folder.ok_or("no source of http_desync_guardian")?.to_owned())
}

fn case(file: &Path, yaml: &Yaml) -> Option<Case> {
    let name = yaml["name"].as_str()?;
    let tier = match yaml["expected"]["tier"].as_str()? {
        "Compliant" => Tier::Compliant,
        "Acceptable" => Tier::Acceptable,
        "Ambiguous" => Tier::Ambiguous,
        "Severe" => Tier::Severe,
        _ => return None,
    };
    let headers = yaml["headers"].as_vec().map(Vec::as_slice).unwrap_or_default();
    let mut fields = Vec::new();
    for header in headers {
        fields.push((text(&header["name"])?, text(&header["value"])?));
    }
    let version = text(&yaml["version"])?;
    let mut request = format!("{} {}", text(&yaml["method"])?, text(&yaml["uri"])?).into_bytes();
    if !version.is_empty() {
        request.extend_from_slice(format!(" {version}").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    // Without a Host every case would be refused for that alone.
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.extend_from_slice(b"Host: a.lab\r\n");
    }
    for (name, value) in &fields {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(&body(&fields));
    let place = format!("{}: {name}", file.file_name()?.to_string_lossy());
    Some(Case { place, tier, request })
}

/// A body as the fields declare it, if they do.
fn body(fields: &[(String, String)]) -> Vec<u8> {
    let value = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim())
    };
    if value("transfer-encoding").is_some() {
        return b"0\r\n\r\n".to_vec();
    }
    let length = value("content-length").and_then(|value| value.parse::<usize>().ok());
    vec![b'x'; length.unwrap_or(0).min(LONGEST)]
}

/// Strings as they are, and numbers as they are written.
fn text(yaml: &Yaml) -> Option<String> {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Null => Some(String::new()),
        _ => None,
    }
}
