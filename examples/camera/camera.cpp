// Classify the pictures of a camera: print labels, frame rate, temperature and throttling as text.
//
//     ./camera                       the first USB camera
//     ./camera --folder PICTURES     no camera needed
//     rpicam-vid -n -t 0 --codec yuv420 --width 320 --height 240 -o - | ./camera --yuv420 320x240
//
// Ctrl-C ends the program.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <numeric>

#include "board.hpp"
#include "frames.hpp"
#include "network.hpp"

#ifdef WITH_OPENCV_WINDOW
#include <opencv2/highgui.hpp>
#include <opencv2/imgproc.hpp>
#endif

volatile std::sig_atomic_t ended_by_signal = 0;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t RECENT = 30; // the number of frames over which rates are averaged

double seconds(Clock::duration time)
{
    return std::chrono::duration<double>(time).count();
}

struct Options {
    std::string folder, clip, labels, sys = "/sys";
    int camera = 0, columns = 0, rows = 0, top = 3, threads = 0;
    long frames = -1;
    double threshold = 0.15, interval = -1;
    bool headless = false;
};

constexpr const char *USAGE =
    "usage: camera [--camera N | --clip FILE | --folder PICTURES | --yuv420 COLUMNSxROWS]\n"
    "              [--labels FILE] [--top N] [--threshold SCORE] [--frames N] [--threads N]\n"
    "              [--interval SECONDS] [--headless]\n"
    "--yuv420 reads raw frames from standard input.\n";

// Parse a text as a number in a range.
double number(const std::string &option, const char *text, double least, double most, bool whole)
{
    char *end = nullptr;
    const double value = std::strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most) ||
        (whole && value != static_cast<double>(static_cast<long>(value))))
        throw Mistake(option + " " + text + ": not a number that this option accepts");
    return value;
}

Options options_of(int count, char **words)
{
    Options made;
    int sources = 0;
    for (int i = 1; i < count; i++) {
        const std::string option = words[i];
        if (option == "-h" || option == "--help") {
            std::fputs(USAGE, stdout);
            std::exit(0);
        }
        if (option == "--headless") {
            made.headless = true;
            continue;
        }
        if (i + 1 == count)
            throw Mistake(option + ": unknown, or without a value\n" + USAGE);
        const char *value = words[++i];
        const auto whole = [&](double least) {
            return static_cast<int>(number(option, value, least, 1e9, true));
        };
        if (option == "--camera")
            made.camera = whole(0), sources++;
        else if (option == "--clip")
            made.clip = value, sources++;
        else if (option == "--folder")
            made.folder = value, sources++;
        else if (option == "--yuv420") {
            char rest = 0;
            if (std::sscanf(value, "%dx%d%c", &made.columns, &made.rows, &rest) != 2)
                throw Mistake("--yuv420 takes COLUMNSxROWS, such as 320x240");
            sources++;
        } else if (option == "--labels")
            made.labels = value;
        else if (option == "--sys")
            made.sys = value;
        else if (option == "--top")
            made.top = whole(1);
        else if (option == "--threads")
            made.threads = whole(1);
        else if (option == "--frames")
            made.frames = whole(1);
        else if (option == "--threshold")
            made.threshold = number(option, value, -1e30, 1e30, false);
        else if (option == "--interval")
            made.interval = number(option, value, 0, 1e6, false);
        else
            throw Mistake(option + ": unknown\n" + USAGE);
    }
    if (sources > 1)
        throw Mistake(std::string("one source at a time\n") + USAGE);
    return made;
}

std::unique_ptr<Source> source_of(const Options &options)
{
    if (!options.folder.empty())
        return open_folder(options.folder);
    if (!options.clip.empty())
        return open_clip(options.clip);
    if (options.columns || options.rows)
        return open_yuv420(options.columns, options.rows);
    return open_camera(options.camera);
}

std::vector<std::string> labels_of(const std::string &path)
{
    std::vector<std::string> labels;
    if (!path.empty()) {
        std::ifstream file(path);
        if (!file)
            throw Mistake(path + ": " + std::strerror(errno));
        for (std::string line; std::getline(file, line);) {
            while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
                line.pop_back();
            labels.push_back(line);
        }
        while (!labels.empty() && labels.back().empty())
            labels.pop_back();
    } else {
#ifdef NETWORK_HAS_LABELS
        const char *const *known = NET(_labels);
        labels.assign(known, known + NET(_LABEL_COUNT));
#else
        for (int i = 0; i < CLASSES; i++)
            labels.push_back("class " + std::to_string(i));
#endif
    }
    if (labels.size() != static_cast<std::size_t>(CLASSES))
        throw Mistake("classes of the network: " + std::to_string(CLASSES) + ", but labels: " +
            std::to_string(labels.size()));
    return labels;
}

// An instance of the network, and its memory.
class Network {
public:
    explicit Network(int threads)
    {
        memory_.resize(NET(_ARENA_BYTES) + NET(_ARENA_ALIGN));
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        unsigned char *arena = memory_.data() + (-address & (NET(_ARENA_ALIGN) - 1));
        const int status = NET(_init)(&model_, arena, NET(_ARENA_BYTES));
        if (status == NET(_EISA))
            throw Mistake("this CPU lacks instructions that the network was compiled for");
        if (status != NET(_OK))
            throw Mistake("the network does not start: status " + std::to_string(status));
        if (threads && NET(_set_threads)(&model_, threads) != NET(_OK))
            throw Mistake("the network cannot use that many threads");
    }
    ~Network() { NET(_destroy)(&model_); }
    Network(const Network &) = delete;
    Network &operator=(const Network &) = delete;

    std::vector<double> scores(const std::vector<Element> &pixels)
    {
        if (NET(_predict)(&model_, pixels.data(), out_.data()) != NET(_OK))
            throw Mistake("the network's call failed");
        std::vector<double> real(out_.begin(), out_.end());
        for (double &score : real)
            score = SCORE_SCALE * (score - SCORE_ZERO_POINT);
        return real;
    }

private:
    std::vector<unsigned char> memory_;
    std::vector<Score> out_ = std::vector<Score>(CLASSES);
    NET(_t) model_;
};

int scaled(int at, int from, int to)
{
    return static_cast<int>(static_cast<long long>(at) * from / to);
}

// The middle of a frame, cropped and scaled to the size of the network's input. Each new pixel is the
// mean of all pixels that it covers. A picture that already has this size stays unchanged.
std::vector<Element> pixels_of(const Frame &frame)
{
    const double scale = std::min(double(frame.columns) / COLUMNS, double(frame.rows) / ROWS);
    const int width = std::clamp(static_cast<int>(COLUMNS * scale + 0.5), 1, frame.columns);
    const int height = std::clamp(static_cast<int>(ROWS * scale + 0.5), 1, frame.rows);
    const int left = (frame.columns - width) / 2, top = (frame.rows - height) / 2;
    std::vector<Element> made;
    made.reserve(std::size_t{ROWS} * COLUMNS * CHANNELS);
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < COLUMNS; x++) {
            const int y0 = scaled(y, height, ROWS), y1 = std::max(y0 + 1, scaled(y + 1, height, ROWS));
            const int x0 = scaled(x, width, COLUMNS), x1 = std::max(x0 + 1, scaled(x + 1, width, COLUMNS));
            unsigned long sum[3] = {};
            for (int v = y0; v < y1; v++)
                for (int u = x0; u < x1; u++)
                    for (int c = 0; c < 3; c++)
                        sum[c] += frame.rgb[3 * (std::size_t(top + v) * frame.columns + left + u) + c];
            const unsigned long count = static_cast<unsigned long>(y1 - y0) * (x1 - x0);
            unsigned long mean[3];
            for (int c = 0; c < 3; c++)
                mean[c] = (sum[c] + count / 2) / count;
            if (CHANNELS == 1) // the brightness of red, green and blue to the eye
                mean[0] = (19595 * mean[0] + 38470 * mean[1] + 7471 * mean[2] + 32768) >> 16;
            for (int c = 0; c < CHANNELS; c++)
                made.push_back(static_cast<Element>(
                    std::is_signed_v<Element> ? int(mean[c]) - 128 : int(mean[c])));
        }
    return made;
}

std::string best_of(const std::vector<double> &scores, const std::vector<std::string> &labels,
    const Options &options)
{
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
    std::string text;
    for (int i = 0; i < std::min(options.top, CLASSES) && scores[order[i]] >= options.threshold; i++) {
        char score[32];
        std::snprintf(score, sizeof score, " %.2f", scores[order[i]]);
        text += (i ? ", " : "") + labels[order[i]] + score;
    }
    if (text.empty()) {
        char unsure[48];
        std::snprintf(unsure, sizeof unsure, "no score reaches %g", options.threshold);
        return unsure;
    }
    return text;
}

// Show the frame and its label, if there is a display. Returns false once the user pressed q or Esc.
bool show(const Frame &frame, const std::string &text, const Options &options)
{
#ifdef WITH_OPENCV_WINDOW
    if (options.headless || !(std::getenv("DISPLAY") || std::getenv("WAYLAND_DISPLAY")))
        return true;
    const cv::Mat rgb(frame.rows, frame.columns, CV_8UC3,
        const_cast<std::uint8_t *>(frame.rgb.data()));
    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    cv::putText(bgr, text, {8, 24}, cv::FONT_HERSHEY_SIMPLEX, 0.6, {0, 255, 0}, 2);
    cv::imshow("ellc camera", bgr);
    const int key = cv::waitKey(1) & 0xFF;
    return key != 'q' && key != 27;
#else
    (void)frame, (void)text, (void)options;
    return true;
#endif
}

// Frames per second and milliseconds per call, both over the last RECENT frames.
struct Rates {
    std::deque<Clock::time_point> ends{Clock::now()};
    std::deque<double> calls;

    void add(double call_s)
    {
        ends.push_back(Clock::now());
        calls.push_back(call_s);
        if (calls.size() > RECENT) {
            ends.pop_front();
            calls.pop_front();
        }
    }
    std::string text() const
    {
        if (calls.empty())
            return "no frames";
        std::vector<double> sorted(calls.begin(), calls.end());
        std::sort(sorted.begin(), sorted.end());
        const double took = std::max(seconds(ends.back() - ends.front()), 1e-9);
        char text[80];
        std::snprintf(text, sizeof text, "%.2f ms, %.1f frames/s", 1e3 * sorted[sorted.size() / 2],
            static_cast<double>(calls.size()) / took);
        return text;
    }
};

void watch(const Options &options)
{
    const std::vector<std::string> labels = labels_of(options.labels);
    Network network(options.threads);
    const std::unique_ptr<Source> source = source_of(options);
    const double interval = options.interval >= 0 ? options.interval : source->live();
    Rates rates;
    Frame frame;
    std::string board;
    Clock::time_point asked{}, printed{};
    long done = 0;
    while (!ended_by_signal && done != options.frames && source->next(frame)) {
        const std::vector<Element> pixels = pixels_of(frame);
        const auto start = Clock::now();
        const std::vector<double> scores = network.scores(pixels);
        const auto end = Clock::now();
        rates.add(seconds(end - start));
        const std::string best = best_of(scores, labels, options);
        if (!done || seconds(end - asked) >= 1) {
            board = board_text(options.sys);
            asked = end;
        }
        if (!done || seconds(end - printed) >= interval) {
            std::printf("%s: %s | %s, %s\n", frame.name.c_str(), best.c_str(), rates.text().c_str(),
                board.c_str());
            std::fflush(stdout);
            printed = end;
        }
        done++;
        if (!show(frame, best, options))
            break;
    }
    std::printf("%ld frames\n", done);
}

} // namespace

int main(int count, char **words)
{
    // SA_RESTART is not set, so that a signal also interrupts a read that waits for a frame.
    struct sigaction action {};
    action.sa_handler = [](int) { ended_by_signal = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    try {
        watch(options_of(count, words));
    } catch (const Mistake &mistake) {
        if (ended_by_signal)
            return 0;
        std::fprintf(stderr, "camera: %s\n", mistake.what());
        return 1;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "camera: %s\n", error.what());
        return 1;
    }
}
