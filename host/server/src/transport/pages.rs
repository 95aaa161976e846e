//! Static files of one folder, for a page that opens its WebSocket on the same host. Read only, below the folder only.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    http::request::Parts,
};

/// A file larger than this is not served.
const PAGE_BYTES_MAX: u64 = 32 << 20;

/// Answers a request that is no upgrade.
pub(crate) async fn serve(folder: Option<&Path>, request: &Parts) -> Response<Full<Bytes>> {
    let Some(folder) = folder else {
        return plain(
            StatusCode::NOT_FOUND,
            "SIP over WebSocket is spoken here; there are no pages.\n",
        );
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD.\n");
    }
    let found = match relative(request.uri.path()) {
        Some(path) => read(folder, &path).await,
        None => None,
    };
    let Some((file, bytes)) = found else {
        return plain(StatusCode::NOT_FOUND, "No such page.\n");
    };
    let mut response = Response::new(Full::new(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&file)));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A short answer for people.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The path below the folder, or nothing if it leaves it, is hidden, or is no path.
fn relative(path: &str) -> Option<PathBuf> {
    let decoded = decode(path.strip_prefix('/')?)?;
    let path = PathBuf::from(decoded);
    let is_plain = |component: Component| match component {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    };
    path.components().all(is_plain).then_some(path)
}

/// Percent-decoding (RFC 3986 §2.1).
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded)
        .ok()
        .filter(|text| !text.contains(['\0', '\\']))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

async fn read(folder: &Path, path: &Path) -> Option<(PathBuf, Bytes)> {
    let root = tokio::fs::canonicalize(folder).await.ok()?;
    let mut file = tokio::fs::canonicalize(root.join(path)).await.ok()?;
    if tokio::fs::metadata(&file).await.ok()?.is_dir() {
        file = tokio::fs::canonicalize(file.join("index.html"))
            .await
            .ok()?;
    }
    // A symbolic link may lead anywhere.
    let metadata = tokio::fs::metadata(&file).await.ok()?;
    if !file.starts_with(&root) || !metadata.is_file() || metadata.len() > PAGE_BYTES_MAX {
        return None;
    }
    let bytes = tokio::fs::read(&file).await.ok()?;
    Some((file, bytes.into()))
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("wav") => "audio/wav",
        Some("mp3") => "audio/mpeg",
        Some("ogg") => "audio/ogg",
        Some("wasm") => "application/wasm",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_folder() {
        let path = |text: &str| relative(text).map(|path| path.display().to_string());
        assert_eq!(path("/"), Some(String::new()));
        assert_eq!(path("/a/b%20c.js").as_deref(), Some("a/b c.js"));
        for text in [
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/a/%2e%2e%2f%2e%2e/x",
            "//etc/passwd",
            "/%2fetc",
            "/.git/config",
            "/a\\..\\b",
            "/%5c",
            "/%00",
            "/%zz",
            "/%2",
            "*",
            "/%ff",
        ] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
