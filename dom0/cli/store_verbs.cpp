// SPDX-License-Identifier: BSD-2-Clause
// `cero store`: looking into and changing XenStore; `cero check`: does everything agree?
#include "base/error.hpp"
#include "cli/arguments.hpp"
#include "toolstack/check.hpp"
#include "toolstack/paths.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace cero::cli {

namespace {

using control::StoreClient;

/// Values may hold any byte; what is not printable is shown as \xNN.
std::string printable(std::string_view value) {
    std::string text;
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f)
            text += c;
        else
            text += fmt::format("\\x{:02x}", byte);
    }
    return text;
}

std::string child_path(const std::string& path, const std::string& name) {
    return path == "/" ? "/" + name : path + "/" + name;
}

void print_tree(StoreClient& store, const std::string& path, unsigned depth, bool full) {
    for (const std::string& name : store.list(path).value_or(std::vector<std::string>{})) {
        const std::string child = child_path(path, name);
        const std::string value = printable(store.read(child).value_or(""));
        if (full)
            print(fmt::format("{} = \"{}\"\n", child, value));
        else
            print(fmt::format("{}{} = \"{}\"\n", std::string(depth, ' '), name, value));
        print_tree(store, child, depth + 1, full);
    }
}

nlohmann::json tree_json(StoreClient& store, const std::string& path) {
    nlohmann::json children = nlohmann::json::object();
    for (const std::string& name : store.list(path).value_or(std::vector<std::string>{}))
        children[name] = tree_json(store, child_path(path, name));
    return {{"value", store.read(path).value_or("")}, {"children", children}};
}

[[noreturn]] void no_such_node(const std::string& path) {
    throw Error{ExitCode::not_found, fmt::format("XenStore {}: there is no such node", path),
                "\"cero store ls\" shows what there is."};
}

void watch_paths(StoreClient& store, const std::vector<std::string>& paths, unsigned count,
                 double timeout, bool json) {
    for (const std::string& path : paths)
        store.watch(path, "cero-store-watch");
    for (unsigned seen = 0; count == 0 || seen < count; ++seen) {
        const auto event = store.wait(timeout < 0 ? -1 : milliseconds(timeout));
        if (!event)
            throw Error{ExitCode::timed_out, fmt::format("store watch: nothing for {} s", timeout)};
        if (json)
            print(nlohmann::json{{"path", event->path}}.dump() + "\n");
        else
            print(event->path + "\n");
        flush();
    }
}

} // namespace

int store_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    std::string action;
    std::vector<std::string> words;
    bool full = false;
    bool permissions = false;
    bool json = false;
    unsigned count = 0;
    double timeout = -1;
    parser
        ->add_option("ACTION", action,
                     "ls [PATH] | read PATH... | write PATH VALUE ... | rm PATH... | watch PATH...")
        ->required();
    parser->add_option("WORDS", words, "paths and values");
    parser->add_flag("-f,--full", full, "ls: print whole paths");
    parser->add_flag("-p,--permissions", permissions, "ls: print the node's permissions");
    parser->add_option("-n,--count", count, "watch: end after so many events");
    parser.timeout_option(timeout, "watch: give up after so many seconds without an event");
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    StoreClient& store = session.store();
    if (action == "ls") {
        const std::string path = words.empty() ? "/" : words.front();
        if (!store.list(path))
            no_such_node(path);
        if (permissions) {
            const auto reply =
                store.request(control::StoreOp::get_perms, control::path_payload(path));
            std::string text = reply ? *reply : std::string{};
            std::ranges::replace(text, '\0', ' ');
            print(text + "\n");
        } else if (json) {
            print_json(tree_json(store, path));
        } else {
            print_tree(store, path, 0, full);
        }
    } else if (action == "read") {
        if (words.empty())
            throw Error{ExitCode::usage, "store read: name a path"};
        nlohmann::json values;
        for (const std::string& path : words) {
            const auto value = store.read(path);
            if (!value)
                no_such_node(path);
            if (json)
                values[path] = *value;
            else
                print(printable(*value) + "\n");
        }
        if (json)
            print_json(values);
    } else if (action == "write") {
        if (words.empty() || words.size() % 2 != 0)
            throw Error{ExitCode::usage, "store write: give pairs of path and value"};
        for (std::size_t i = 0; i < words.size(); i += 2)
            store.write(words[i], words[i + 1]);
    } else if (action == "rm") {
        if (words.empty())
            throw Error{ExitCode::usage, "store rm: name a path"};
        for (const std::string& path : words) {
            if (!store.read(path))
                no_such_node(path);
            store.remove(path);
        }
    } else if (action == "watch") {
        if (words.empty())
            throw Error{ExitCode::usage, "store watch: name a path"};
        watch_paths(store, words, count, timeout, json);
    } else {
        throw Error{ExitCode::usage, fmt::format("store: unknown action \"{}\"", action),
                    "Use ls, read, write, rm or watch."};
    }
    return 0;
}

int check_verb(Session& session, const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    bool json = false;
    parser.json_option(json);
    if (!parser.parse(arguments))
        return 0;
    toolstack::Machine machine = session.machine();
    const toolstack::CheckReport report = toolstack::check_machine(machine);
    if (json) {
        nlohmann::json figures;
        for (const auto& [key, value] : report.figures)
            figures[key] = value;
        print_json({{"consistent", report.problems.empty()},
                    {"figures", figures},
                    {"problems", report.problems}});
    } else {
        for (const auto& [key, value] : report.figures)
            print(fmt::format("{:<28}: {}\n", key, value));
        for (const std::string& problem : report.problems)
            print(fmt::format("problem: {}\n", problem));
        print(report.problems.empty() ? "consistent\n" : "");
    }
    return report.problems.empty() ? 0 : static_cast<int>(ExitCode::failed);
}

} // namespace cero::cli
