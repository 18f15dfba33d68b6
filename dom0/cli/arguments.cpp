// SPDX-License-Identifier: BSD-2-Clause
// Verb parsers: help texts and usage errors in one form.
#include "cli/arguments.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>

namespace cero::cli {

int milliseconds(double seconds) {
    return static_cast<int>(std::lround(std::min(seconds, 2e6) * 1000));
}

VerbParser::VerbParser(const std::string& verb) : verb_{verb} {
    for (const Verb& known : verbs())
        if (known.name == verb) {
            app_.description(
                fmt::format("{}\n\n  cero {} {}\n", known.summary, verb, known.synopsis));
        }
    app_.name("cero " + verb);
    app_.set_help_flag("-h,--help", "show this text");
}

bool VerbParser::parse(Arguments arguments) {
    std::vector<std::string> words;
    for (const char* word : arguments)
        words.emplace_back(word);
    std::reverse(words.begin(), words.end()); // CLI11 takes them from the back
    try {
        app_.parse(words);
    } catch (const CLI::CallForHelp&) {
        print(app_.help());
        return false;
    } catch (const CLI::ParseError& error) {
        throw Error{ExitCode::usage, fmt::format("{}: {}", verb_, error.what()),
                    fmt::format("\"cero {} --help\" shows how it is used.", verb_)};
    }
    return true;
}

void VerbParser::domain_option(std::string& name) {
    app_.add_option("DOMAIN", name, "name or number")->required();
}

void VerbParser::json_option(bool& flag) {
    app_.add_flag("--json", flag, "print JSON");
}

void VerbParser::timeout_option(double& seconds, const std::string& what) {
    app_.add_option("--timeout", seconds, what)->check(CLI::Range(0.0, 1e6));
}

} // namespace cero::cli
