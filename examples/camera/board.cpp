#include "board.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

namespace fs = std::filesystem;

namespace {

std::string text_of(const fs::path &file)
{
    std::ifstream stream(file);
    std::string text;
    stream >> text;
    return text;
}

std::vector<fs::path> inside(const fs::path &folder, const std::string &name_begins)
{
    std::vector<fs::path> found;
    std::error_code error; // ignored: if the folder does not exist, no file is found
    for (const auto &entry : fs::directory_iterator(folder, error))
        if (entry.path().filename().string().rfind(name_begins, 0) == 0)
            found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
}

std::optional<long> number(const std::string &text, int base)
{
    std::size_t used = 0;
    try {
        const long value = std::stol(text, &used, base);
        return used == text.size() ? std::optional<long>(value) : std::nullopt;
    } catch (const std::exception &) {
        return std::nullopt;
    }
}

std::optional<double> temperature_c(const fs::path &sys)
{
    std::vector<fs::path> zones = inside(sys / "class/thermal", "thermal_zone");
    // Prefer the processor's zone to those of radios and power chips. If a board has only one zone,
    // its name may be anything.
    std::stable_partition(zones.begin(), zones.end(), [](const fs::path &zone) {
        return text_of(zone / "type").find("cpu") != std::string::npos;
    });
    for (const fs::path &zone : zones)
        if (const auto value = number(text_of(zone / "temp"), 10))
            return *value / 1000.0;
    return std::nullopt;
}

std::optional<long> ask_firmware()
{
    FILE *pipe = popen("vcgencmd get_throttled 2>/dev/null", "r");
    if (!pipe)
        return std::nullopt;
    unsigned long bits = 0;
    const bool found = std::fscanf(pipe, "throttled=0x%lx", &bits) == 1;
    return pclose(pipe) == 0 && found ? std::optional<long>(bits) : std::nullopt;
}

std::optional<long> throttled(const fs::path &sys)
{
    for (const fs::path &soc : inside(sys / "devices/platform", "soc"))
        for (const fs::path &part : inside(soc, "soc"))
            if (const auto bits = number(text_of(part / "get_throttled"), 16))
                return bits;
    return ask_firmware();
}

std::string throttling_text(std::optional<long> bits)
{
    static const char *const names[4] = {
        "under-voltage", "clock capped", "throttled", "soft temperature limit"};
    if (!bits)
        return "throttling not known";
    std::string now, before;
    for (int i = 0; i < 4; i++) {
        if (*bits >> i & 1)
            now += std::string(", ") + names[i];
        else if (*bits >> (i + 16) & 1)
            before += std::string(", ") + names[i] + " earlier";
    }
    const std::string all = now + before;
    return all.empty() ? "not throttled" : all.substr(2);
}

} // namespace

std::string board_text(const std::string &sys)
{
    char warm[32] = "temperature not known";
    if (const auto value = temperature_c(sys))
        std::snprintf(warm, sizeof warm, "%.1f °C", *value);
    return std::string(warm) + ", " + throttling_text(throttled(sys));
}
