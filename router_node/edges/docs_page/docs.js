"use strict";
// Shows /openapi.json and /asyncapi.json. Everything is put in as text: nothing of a document is ever run as markup.

const METHODS = ["get", "put", "post", "delete"];
const nav = document.getElementById("contents");
const page = document.getElementById("page");

function element(name, properties, ...children) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children.filter((child) => child !== null && child !== ""));
  return found;
}

// Text in which `this` is code.
function prose(text, properties = {}) {
  const parts = (text || "").split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
  return element("p", properties, ...parts);
}

function json(value) {
  return element("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

function resolved(schema, document) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((place, name) => place[name], document);
}

function typeOf(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return element("a", { href: `#schema-${name}` }, name);
  }
  if ("const" in schema) return element("code", {}, JSON.stringify(schema.const));
  if (schema.enum) return element("span", {}, schema.enum.map((each) => JSON.stringify(each)).join(" | "));
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return element("span", {}, ...choices.flatMap((each, i) => (i ? [" or ", typeOf(each)] : [typeOf(each)])));
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "any value";
  if (schema.items) return element("span", {}, `${type} of `, typeOf(schema.items));
  return element("span", {}, schema.format ? `${type} (${schema.format})` : type);
}

function boundsOf(schema) {
  const words = [];
  if (schema.minimum !== undefined || schema.maximum !== undefined)
    words.push(`${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}`);
  if (schema.maxLength !== undefined) words.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) words.push(`at most ${schema.maxItems} entries`);
  if (schema.pattern) words.push(schema.pattern);
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join("; ");
}

function row(name, schema, required, description) {
  const bounds = boundsOf(schema);
  const about = prose(description || schema.description || "");
  if (bounds) about.append(" ", element("span", { className: "quiet" }, bounds));
  const label = element("td", {}, element("code", {}, name));
  if (required) label.append(element("span", { className: "quiet" }, " required"));
  return element("tr", {}, label, element("td", {}, typeOf(schema)), element("td", {}, about));
}

function members(schema) {
  const found = element("div", {});
  for (const variant of schema.oneOf || schema.anyOf || []) if (variant.properties) found.append(members(variant));
  if (schema.properties) {
    const required = new Set(schema.required || []);
    const rows = Object.entries(schema.properties).map(([name, each]) => row(name, each, required.has(name)));
    found.append(element("table", {}, ...rows));
  }
  return found;
}

function content(media) {
  const found = element("div", {});
  for (const [type, { schema, example, examples }] of Object.entries(media || {})) {
    found.append(element("p", {}, element("code", {}, type), " ", typeOf(schema)), members(schema));
    if (example !== undefined) found.append(json(example));
    for (const each of Object.values(examples || {})) found.append(prose(each.summary), json(each.value));
  }
  return found;
}

function answer(status, response, document) {
  const found = resolved(response, document);
  const detail = element("details", { open: status < "300" });
  detail.append(element("summary", {}, element("code", {}, status), ` ${found.description}`));
  if (response.$ref) {
    const code = response.$ref.split("/").pop();
    detail.append(element("p", {}, element("a", { href: `#problem-${code}` }, code)));
  } else detail.append(content(found.content));
  for (const [name, header] of Object.entries(found.headers || {}))
    detail.append(prose(`\`${name}\`: ${header.description || ""}`));
  return detail;
}

function operation(method, path, described, document) {
  const section = element("section", { id: described.operationId });
  section.append(
    element("h3", {}, element("span", { className: "method" }, method.toUpperCase()), " ",
      element("span", { className: "path" }, path)),
    element("p", {}, element("b", {}, described.summary)),
    prose(described.description));
  if (described.parameters) {
    section.append(element("h4", {}, "Parameters"));
    section.append(element("table", {}, ...described.parameters.map((each) =>
      row(each.name, each.schema, each.required, `${each.description} (${each.in})`))));
  }
  if (described.requestBody) section.append(element("h4", {}, "Body"), content(described.requestBody.content));
  section.append(element("h4", {}, "Answers"));
  for (const [status, response] of Object.entries(described.responses)) section.append(answer(status, response, document));
  return section;
}

function chapter(title, about, links) {
  const id = title.toLowerCase().replaceAll(" ", "-");
  page.append(element("h2", { id }, title), prose(about));
  nav.append(element("a", { href: `#${id}` }, element("b", {}, title)), element("ul", {}, ...links.map(([href, text]) =>
    element("li", {}, element("a", { href }, text)))));
}

function http(document) {
  page.append(element("h1", {}, `${document.info.title} ${document.info.version}`));
  for (const text of document.info.description.split("\n\n")) page.append(prose(text));
  for (const tag of document.tags) {
    const own = Object.entries(document.paths).flatMap(([path, item]) => METHODS
      .filter((method) => item[method] && item[method].tags.includes(tag.name))
      .map((method) => [method, path, item[method]]));
    chapter(tag.name, tag.description, own.map(([, , each]) => [`#${each.operationId}`, each.summary]));
    for (const [method, path, each] of own) page.append(operation(method, path, each, document));
  }
}

function problems(document) {
  const all = Object.entries(document.components.responses);
  chapter("Problems", "Every error; the `type` of a problem leads here.", all.map(([code]) => [`#problem-${code}`, code]));
  for (const [code, response] of all) {
    const { example } = response.content["application/problem+json"];
    page.append(element("section", { id: `problem-${code}` }, element("h3", {}, `${example.status} ${code}`),
      prose(response.description), json(example)));
  }
}

function schemas(document) {
  const all = Object.entries(document.components.schemas);
  chapter("Schemas", "What bodies are made of.", all.map(([name]) => [`#schema-${name}`, name]));
  for (const [name, schema] of all)
    page.append(element("section", { id: `schema-${name}` }, element("h3", {}, name), prose(schema.description),
      members(schema)));
}

function frames(document) {
  const own = Object.entries(document.operations);
  chapter("WebSocket", document.info.description, own.map(([id, each]) => [`#${id}`, each.messages[0].$ref.split("/").pop()]));
  for (const [id, { action, summary, messages, reply }] of own) {
    const message = resolved(resolved(messages[0], document), document);
    const section = element("section", { id });
    section.append(element("h3", {}, element("span", { className: "method" }, action === "send" ? "node" : "client"), " ",
      message.name), prose(summary), members(message.payload));
    for (const example of message.examples) section.append(json(example.payload));
    if (reply) section.append(prose(`Answered by ${reply.messages.map((each) => `\`${each.$ref.split("/").pop()}\``).join(" or ")}.`));
    page.append(section);
  }
}

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return response.json();
}

async function show() {
  const state = document.getElementById("state");
  try {
    const [openapi, asyncapi] = await Promise.all([read("/openapi.json"), read("/asyncapi.json")]);
    http(openapi);
    frames(asyncapi);
    problems(openapi);
    schemas(openapi);
    state.remove();
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) target.scrollIntoView();
  } catch (error) {
    state.textContent = `The documents cannot be shown: ${error.message}`;
  }
}

show();
