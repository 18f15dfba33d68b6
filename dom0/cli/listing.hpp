// SPDX-License-Identifier: BSD-2-Clause
// What the verbs that list domains or devices have in common.
#pragma once

#include "cli/arguments.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace cero::cli {

/// The command line of a list verb: [DOMAIN...] [--json].
struct ListArguments {
    std::vector<std::string> names; ///< of domains; none: all
    bool json{};
};
/// std::nullopt when --help was printed. Throws Error (usage).
[[nodiscard]] std::optional<ListArguments> parse_list(const std::string& verb, Arguments arguments);

/// The answer of a list verb: a table for people, printed line by line, or one JSON array.
class Listing {
public:
    Listing(bool json, const std::string& header);
    /// The same entry in both forms; `line` ends with a newline.
    void add(nlohmann::json entry, const std::string& line);
    /// Prints what is left to print. Returns the verb's exit code.
    int end();

private:
    bool json_;
    nlohmann::json list_ = nlohmann::json::array();
};

} // namespace cero::cli
