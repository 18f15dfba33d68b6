// SPDX-License-Identifier: BSD-2-Clause
#include "base/nearest.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace cero {

namespace {

/// Optimal string alignment: Levenshtein's distance, and two neighbours exchanged cost one. Row by
/// row of the table.
std::size_t distance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> before_last(to.size() + 1);
    std::vector<std::size_t> last(to.size() + 1);
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::swap(before_last, last);
        std::swap(last, row);
        row[0] = i + 1;
        for (std::size_t j = 0; j < to.size(); ++j) {
            const std::size_t replaced = last[j] + (from[i] == to[j] ? 0 : 1);
            row[j + 1] = std::min({replaced, last[j + 1] + 1, row[j] + 1});
            if (i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j])
                row[j + 1] = std::min(row[j + 1], before_last[j - 1] + 1);
        }
    }
    return row.back();
}

} // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
    constexpr std::size_t longest_word = 64; // bounds the work; no name here is nearly as long
    if (word.size() > longest_word)
        return {};
    std::string_view best;
    std::size_t fewest = word.size() / 3 + 1;
    for (const std::string_view candidate : known)
        if (const std::size_t changes = distance(word, candidate); changes < fewest) {
            best = candidate;
            fewest = changes;
        }
    return best;
}

} // namespace cero
