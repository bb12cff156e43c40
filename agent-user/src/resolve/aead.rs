//! aws-lc's AEAD functions: one layer below TLS, where every record passes.

use super::anchors::{Text, references, strings};
use super::image::Image;
use super::knowledge::{Aead, Reasons};
use super::ssl::{referrers, report};
use super::{Function, Lazy, Refused, Role, function, only};

pub(super) fn find(image: &Image<'_>, starts: &mut Lazy<'_, '_>, wanted: &Aead) -> Result<Vec<Function>, Refused> {
    let files: Vec<Text<'_>> = wanted.files.iter().map(|file| Text::Tail(file)).collect();
    let strings = strings(image, &files)?;
    if strings.is_empty() {
        return Ok(Vec::new());
    }
    let all = referrers(image, starts, &references(image, &strings)?)?;
    let reports = report(&all, |_| true);
    let named = |wanted: &Reasons, what| {
        let candidates: Vec<u64> = reports
            .iter()
            .filter(|(_, reports)| wanted.answered_by(&reports.iter().map(|report| report.reason).collect()))
            .map(|(address, _)| *address)
            .collect();
        only(candidates, what)
    };
    let seal = match named(&wanted.seal, "EVP_AEAD_CTX_seal") {
        // The file is there, but another library's: BoringSSL has one of the same name.
        Err(Refused::Ambiguous { candidates: 0, .. }) => return Ok(Vec::new()),
        seal => seal?,
    };
    let mut functions = vec![
        function(image, Role::Seal, seal, "reports 103, 115, 117")?,
        function(image, Role::Open, named(&wanted.open, "EVP_AEAD_CTX_open")?, "reports 101, 103, 115")?,
    ];
    // Linked in only where something uses them.
    for (role, reasons, what) in [
        (Role::SealScatter, &wanted.seal_scatter, "EVP_AEAD_CTX_seal_scatter"),
        (Role::OpenGather, &wanted.open_gather, "EVP_AEAD_CTX_open_gather"),
    ] {
        match named(reasons, what) {
            Ok(address) => functions.push(function(image, role, address, what)?),
            Err(Refused::Ambiguous { candidates: 0, .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(functions)
}
