//! A browser without a screen: it keeps cookies, names the origin of what it sends, and follows no redirect by itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, RUNTIME, TestGateway};

fn http() -> &'static reqwest::Client {
    static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
        // A kept connection would be idle for as long as a test lets pass.
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        client.pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap()
    });
    &HTTP
}

pub(crate) struct Browser {
    /// `http://localhost:port`.
    pub(crate) origin: String,
    /// By host, and name.
    pub(crate) cookies: BTreeMap<(String, String), String>,
}

/// What a browser got.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The token that forms and program of the page show.
    #[track_caller]
    pub(crate) fn csrf(&self) -> String {
        let token = Regex::new(r#"name="csrf" (?:value|content)="([0-9a-f]{64})""#).unwrap();
        token.captures(&self.body).unwrap_or_else(|| panic!("no token: {self:?}"))[1].to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn says(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(words), "no `{words}` in {self:?}");
    }

    /// That somebody was let in, and is sent to the first page.
    #[track_caller]
    pub(crate) fn let_in(&self) {
        assert_eq!((self.status, self.location()), (303, "/"), "{self:?}");
    }
}

impl Browser {
    pub(crate) fn new(gateway: &TestGateway) -> Self {
        let origin = gateway.url().replace("127.0.0.1", "localhost");
        Self { origin, cookies: BTreeMap::new() }
    }

    /// Opens an address, or a path of the gateway.
    pub(crate) fn get(&mut self, address: &str) -> Page {
        let url = self.url(address);
        let request = http().get(url.clone());
        self.send(&url, request)
    }

    /// Sends a form to a path, as a page of the gateway would.
    pub(crate) fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let origin = self.origin.clone();
        self.post_from(path, form, Some(&origin))
    }

    /// Sends a form as a page of another origin would.
    pub(crate) fn post_from(
        &mut self,
        path: &str,
        form: &[(&str, &str)],
        origin: Option<&str>,
    ) -> Page {
        let url = self.url(path);
        let mut body = Url::parse("http://x").unwrap();
        body.query_pairs_mut().extend_pairs(form);
        let mut request = http()
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.query().unwrap_or_default().to_owned());
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        self.send(&url, request)
    }

    /// Opens `page`, and sends its form with these values to `path`.
    pub(crate) fn submit(&mut self, page: &str, path: &str, form: &[(&str, &str)]) -> Page {
        let csrf = self.get(page).csrf();
        self.post(path, &[form, &[("csrf", &csrf)]].concat())
    }

    /// Sends a message, as the program of the page with this token would.
    pub(crate) fn message(&mut self, path: &str, csrf: &str, body: &Value) -> Page {
        let url = self.url(path);
        let request = http()
            .post(url.clone())
            .header(ORIGIN, &self.origin)
            .header("x-csrf-token", csrf)
            .json(body);
        self.send(&url, request)
    }

    /// Asks the JSON API, with these headers besides the cookies.
    pub(crate) fn api(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Page {
        let url = self.url(path);
        let mut request = http().request(method, url.clone()).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(&url, request)
    }

    /// Who the API says is signed in.
    pub(crate) fn who(&mut self) -> Page {
        self.api(Method::GET, "/api/v1/whoami", &[], &json!({}))
    }

    pub(crate) fn session(&self) -> Option<&String> {
        self.cookies.get(&("localhost".to_owned(), "countersign_session".to_owned()))
    }

    fn url(&self, address: &str) -> Url {
        Url::parse(&self.origin).unwrap().join(address).unwrap()
    }

    fn send(&mut self, url: &Url, request: RequestBuilder) -> Page {
        let host = url.host_str().unwrap().to_owned();
        let own = self.cookies.iter().filter(|((of, _), _)| *of == host);
        let cookies: Vec<_> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let request =
            if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let (status, headers, body) = RUNTIME.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
        });
        for set in headers.get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (pair, rest) = set.split_once(';').unwrap_or((set, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            let expired = rest.contains("Max-Age=0") || rest.contains("1970");
            if expired || value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        Page { status, headers, body }
    }
}

/// The path of a link that a command printed.
pub(crate) fn path(link: &str) -> String {
    let url = Url::parse(link.trim()).unwrap();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", url.path())
}
