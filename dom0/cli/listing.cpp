// SPDX-License-Identifier: BSD-2-Clause
// List verbs: their command line, and their answer in either form.
#include "cli/listing.hpp"

namespace cero::cli {

std::optional<ListArguments> parse_list(const std::string& verb, Arguments arguments) {
    VerbParser parser{verb};
    ListArguments asked;
    parser->add_option("DOMAIN", asked.names, "names or numbers; all without");
    parser.json_option(asked.json);
    return parser.parse(arguments) ? std::optional{std::move(asked)} : std::nullopt;
}

Listing::Listing(bool json, const std::string& header) : json_{json} {
    if (!json_)
        print(header);
}

void Listing::add(nlohmann::json entry, const std::string& line) {
    if (json_)
        list_.push_back(std::move(entry));
    else
        print(line);
}

int Listing::end() {
    if (json_)
        print_json(list_);
    return 0;
}

} // namespace cero::cli
