// SPDX-License-Identifier: BSD-2-Clause
// Builds little-endian tables for parser tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

class Bytes {
public:
    template <typename T>
    Bytes& put(T value) {
        const auto* raw = reinterpret_cast<const std::byte*>(&value);
        data_.insert(data_.end(), raw, raw + sizeof value);
        return *this;
    }
    Bytes& text(std::string_view value, bool terminate = true) {
        for (const char c : value)
            data_.push_back(static_cast<std::byte>(c));
        if (terminate)
            data_.push_back(std::byte{0});
        return *this;
    }
    Bytes& pad_to(std::size_t size) {
        data_.resize(size);
        return *this;
    }
    Bytes& align(std::size_t to) { return pad_to((data_.size() + to - 1) / to * to); }
    template <typename T>
    void set(std::size_t offset, T value) {
        std::memcpy(data_.data() + offset, &value, sizeof value);
    }
    [[nodiscard]] std::size_t size() const { return data_.size(); }
    [[nodiscard]] std::span<const std::byte> span() const { return data_; }
    [[nodiscard]] std::span<const std::byte> first(std::size_t n) const {
        return std::span<const std::byte>(data_).first(n);
    }

private:
    std::vector<std::byte> data_;
};
